"""A job whose workers die is run again as long as more of it is saved."""

from microtome.jobs.run.attempts import WITHOUT_PROGRESS, Attempts
from microtome.store.artifacts.saved_work import saved_work
from microtome.store.artifacts.store import Request, Store


def test_a_job_that_makes_progress_is_run_again_without_a_fixed_number():
    attempts = Attempts()
    assert all(attempts.goes_on("a", f"state {number}") for number in range(100))


def test_a_job_that_dies_at_one_point_is_given_up_and_another_is_not():
    attempts = Attempts()
    assert [attempts.goes_on("a", "") for _ in range(WITHOUT_PROGRESS)] == [True] * (WITHOUT_PROGRESS - 1) + [
        False
    ]
    assert attempts.goes_on("b", "")


def test_progress_in_between_counts():
    attempts = Attempts()
    for number in range(3):
        assert all(attempts.goes_on("a", f"state {number}") for _ in range(WITHOUT_PROGRESS - 1))


def progress_of(store, request):
    """What `saved_work` tells before anything, after a state, after the next, and again."""
    marks = [saved_work(store, request)]
    try:
        with store.begin(request, resumable=True) as staging:
            for step in (1, 2):
                state = staging.scratch / f"checkpoint-{step}"
                state.mkdir()
                (state / "state").write_text("weights")
                staging.send_progress([state])
                if store.remote is not None:
                    staging.send_progress.__self__._progress._waiting.result()
                marks += [saved_work(store, request)]
            marks += [saved_work(store, request)]
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return marks


def test_saved_work_changes_with_each_state(tmp_path):
    before, first, second, again = progress_of(Store(tmp_path), Request("probe", 1, {}, {}, "a"))
    assert before == ""
    assert len({before, first, second}) == 3
    assert again == second


def test_saved_work_of_a_remote_store_is_what_other_machines_find(s3):
    before, first, second, again = progress_of(Store(s3), Request("probe", 1, {}, {}, "a"))
    assert before == ""
    assert len({before, first, second}) == 3
    assert again == second
