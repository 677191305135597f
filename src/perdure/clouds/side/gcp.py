"""A machine of GCP, as it sees itself: who it is, and how its job asks for no other one."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.clouds.side import tokens


@dataclass(frozen=True, slots=True)
class Gcp:
    """A machine of the managed instance group of a job."""

    project: str
    region: str
    group: str

    @property
    def watched(self) -> str:
        """Return whose metadata service gives notice here."""
        return "gcp"

    def identity(self) -> str:
        """Return the instance's id. Asks the metadata server."""
        return tokens.google_metadata("instance/id")

    def kind(self) -> str:
        """Return the type of this machine, such as `g2-standard-4`. Asks the metadata server."""
        return tokens.google_metadata("instance/machine-type").rpartition("/")[2]

    def address(self) -> str:
        """Return where this machine is reached. Asks the metadata server."""
        inner = "instance/network-interfaces/0"
        # The folder is there where there is none, and the word in it empty.
        outside = tokens.google_metadata(f"{inner}/access-configs/0/external-ip")
        return outside or tokens.google_metadata(f"{inner}/ip")

    def settle(self) -> None:
        """Have the group have no machine: this one is ended, and none follows it.

        Raises:
            OSError, ValueError: GCP refuses, or does not answer.
        """
        tokens.end_google(self.project, self.region, self.group)
