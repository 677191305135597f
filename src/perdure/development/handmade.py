"""What was installed by hand in a project's development container."""

from __future__ import annotations

from perdure.development.standing import State, look, open_session
from perdure.development.whereabouts import chosen_host
from perdure.environments.drift import Drift
from perdure.errors import EngineUnreachable, MissingProgram
from perdure.jobs.workspace import Workspace


def drift_of_development(workspace: Workspace) -> Drift | None:
    """Return what was installed by hand in the container, None where none runs. Asks the engine.

    Raises:
        EnvironmentFailed: the container does not say what is installed in it.
    """
    from perdure.environments.handmade import drift_of_container

    try:
        session = open_session(workspace, chosen_host(workspace, None))
    except (MissingProgram, EngineUnreachable):
        # Then there is no container either.
        return None
    if look(session).state is not State.RUNNING:
        return None
    name = session.container
    facts = session.engine.inspect_container(name)
    if facts is None:
        return None
    return drift_of_container(workspace.project, session.engine, name, facts.image)
