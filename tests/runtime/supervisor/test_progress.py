from __future__ import annotations

from perdure.runtime.supervisor.channel import Message
from perdure.runtime.supervisor.progress import Progress


def after(*messages: Message, best: int = 0) -> Progress:
    progress = Progress(best)
    for message in messages:
        progress.hear(message)
    return progress


def restored(step: int, generation: int | None = 1) -> Message:
    return Message("restored", {"step": step, "generation": generation}, step)


def test_a_training_that_says_nothing_is_unaware() -> None:
    progress = after()
    assert (progress.greeted, progress.stepped, progress.advanced) == (False, False, False)


def test_a_step_counts_only_beyond_where_it_was_restored() -> None:
    assert not after(restored(5), Message("step", {}, 5)).stepped
    assert after(restored(5), Message("step", {}, 6), Message("step", {}, 1)).stepped
    assert after(restored(5), Message("durable", {}, 6)).stepped


def test_progress_is_a_durable_step_beyond_all_before() -> None:
    assert after(restored(5), Message("durable", {}, 6)).advanced
    assert not after(restored(5), Message("durable", {}, 5)).advanced


def test_a_fall_back_to_an_older_checkpoint_is_no_progress_until_it_has_caught_up() -> None:
    assert not after(restored(200), Message("durable", {}, 250), best=400).advanced
    assert after(restored(200), Message("durable", {}, 401), best=400).best == 401


def test_the_durable_step_is_the_restored_one_until_there_is_another() -> None:
    assert after(restored(7)).durable_step == 7
    assert after(restored(0, None)).durable_step is None
    assert after(restored(7), Message("durable", {}, 9)).durable_step == 9


def test_the_last_word_is_that_of_the_last_program() -> None:
    assert after(Message("exiting", {}, 75)).said == 75
    assert after(Message("exiting", {}, 75), Message("hello", {})).said is None


def test_a_warning_says_only_that_it_is_aware() -> None:
    progress = after(Message("warning", {"text": "x"}))
    assert progress.greeted
    assert not progress.stepped
