"""A person at a browser: runs in an environment of its own, on whatever host it is started.

    drive.py notebook ADDRESS FOLDER CODE WANTED    run a cell in JupyterLab until it says WANTED
    drive.py curve ADDRESS FOLDER TAG asked|by-itself    see TensorBoard draw a curve, and go on
    drive.py folder ADDRESS FOLDER NAME             see a file in a listing
    drive.py refused ADDRESS FOLDER                 see that an address is closed

ADDRESS `-`: the first line of standard input, since it is a secret. Screenshots go to FOLDER.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, Page, Response, expect, sync_playwright  # type: ignore[import-not-found]

CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = 60_000


def notebook(page: Page, folder: Path, steps: Steps, code: str, wanted: str) -> None:
    """Run a cell in a new notebook, as a person does: by the launcher and the keyboard."""
    page.locator(".jp-LauncherCard").first.click()
    cell = page.locator(".jp-Notebook .jp-Cell .cm-content").first
    # What is run before there is a kernel is not run.
    expect(page.locator("#jp-main-statusbar")).to_contain_text("Idle")
    cell.click()
    page.keyboard.type(code)
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".jp-OutputArea-output").first).to_contain_text(wanted)
    page.screenshot(path=folder / "notebook.png")


class Steps:
    """The last step of what TensorBoard's page has been given."""

    def __init__(self, page: Page) -> None:
        self.last = -1
        page.on("response", self._see)

    def _see(self, response: Response) -> None:
        if "timeSeries" in response.url and response.ok:
            for found in response.json():
                for points in found.get("runToSeries", {}).values():
                    self.last = max([self.last, *(each["step"] for each in points)])


def curve(page: Page, folder: Path, steps: Steps, tag: str, how: str) -> None:
    """See a curve drawn, and that it goes on: `by-itself`, or when it is `asked` to."""
    card = page.locator("scalar-card", has_text=tag).first
    expect(card.locator("svg, canvas").last).to_be_visible()
    page.wait_for_timeout(2000)
    page.screenshot(path=folder / "curve.png")
    before, deadline = steps.last, time.monotonic() + PATIENCE_MS / 1000
    while steps.last <= before:
        if time.monotonic() > deadline:
            raise SystemExit(f"the curve ends at step {before}, and goes on no more")
        if how == "asked":
            page.locator("app-header-reload button").click()
        page.wait_for_timeout(1000)
    page.wait_for_timeout(1000)
    print(before, steps.last)
    page.screenshot(path=folder / "curve-later.png")


def folder(page: Page, place: Path, steps: Steps, name: str) -> None:
    """See a name in the file server's listing."""
    expect(page.get_by_text(name).first).to_be_visible()
    page.screenshot(path=place / "files.png")


def refused(page: Page, folder: Path, steps: Steps) -> None:
    """See that nothing is shown without the token."""
    expect(page.get_by_text("not open without its token")).to_be_visible()
    page.screenshot(path=folder / "refused.png")


TASKS: dict[str, Any] = {
    "notebook": notebook,
    "curve": curve,
    "folder": folder,
    "refused": refused,
}


def main() -> None:
    """Do what the command line says."""
    task, address, place, *given = sys.argv[1:]
    address = sys.stdin.readline().strip() if address == "-" else address
    out = Path(place)
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        # Its sandbox needs rights that root in a namespace does not have.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        steps = Steps(page)
        try:
            do(page, address, lambda: TASKS[task](page, out, steps, *given))
        finally:
            page.screenshot(path=out / f"{task}-end.png")
            browser.close()


def do(page: Page, address: str, task: Callable[[], None]) -> None:
    """Do a task at an address, a second time where the first was disturbed.

    Chromium gives requests up when a network card comes or goes, such as a container's.
    """
    try:
        page.goto(address)
        task()
    except (AssertionError, Error):
        page.goto(address)
        task()
    if "token" in page.url:
        raise SystemExit("the token is still in the address")


if __name__ == "__main__":
    main()
