"""What the hub refuses, in one line each; what passes by itself is asked again, after ever longer waits."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from microtome.store.errors import MissingError

WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each further request
LONGEST_WAIT = 60.0  # seconds, whatever the hub says in Retry-After
RETRIED = (429, 500, 502, 503, 504)
STATUS_NAMES = {
    429: "429 Too Many Requests",
    500: "500 Internal Server Error",
    502: "502 Bad Gateway",
    503: "503 Service Unavailable",
    504: "504 Gateway Timeout",
}

ResultT = TypeVar("ResultT")


class HubDownError(MissingError):
    """The hub was not reached, or refused for now: what it said before may stand in."""


def with_retries(request: Callable[[], ResultT], repo: str, repo_type: str) -> ResultT:
    """The result of a request. Refused for now (429) or by a server with a fault (5xx), it is sent again
    after each of WAITS, or after as long as the hub asks for. Raises MissingError in one line."""
    try:
        return retried(request)
    except Exception as error:
        raise explained(error, repo, repo_type) from None


def retried(request: Callable[[], ResultT]) -> ResultT:
    """The same, raising what the hub's library raises."""
    for wait in (*WAITS, None):
        try:
            return request()
        except Exception as error:
            if wait is None or status_code(error) not in RETRIED:
                raise
            time.sleep(min(LONGEST_WAIT, max(wait, _retry_after(error))))
    raise AssertionError("the last wait is None")


def explained(error: Exception, repo: str, repo_type: str) -> MissingError:
    """An error of huggingface_hub in one line: what is missing, and why."""
    from huggingface_hub import errors

    what = f"{repo_type} '{repo}'"
    if isinstance(error, MissingError):
        return error
    status = status_code(error)
    if status in RETRIED:
        more = ", or set HF_TOKEN, which allows more requests" if status == 429 else ""
        return HubDownError(f"{what}: {_refused_for_now(status)}{more}")
    reasons: list[tuple[type[Exception] | tuple[Any, ...], str]] = [
        (errors.GatedRepoError, "needs an agreement on its page and HF_TOKEN in the environment"),
        (errors.RepositoryNotFoundError, "does not exist on the hub, or is private (set HF_TOKEN)"),
        (errors.RevisionNotFoundError, "has no such revision"),
        (errors.OfflineModeIsEnabled, "is not in the hub's local cache and HF_HUB_OFFLINE is set"),
        (errors.HFValidationError, "is not a name the hub could have"),
    ]
    for kind, reason in reasons:
        if isinstance(error, kind):
            return MissingError(f"{what} {reason}")
    if isinstance(error, errors.LocalEntryNotFoundError):
        return HubDownError(
            f"{what} is not in the hub's local cache, and the hub was not asked or not reached"
        )
    return HubDownError(f"{what}: the hub could not be reached ({first_line(error)})")


def not_written(error: Exception, repo: str) -> MissingError:
    """Why a push failed, in one line."""
    from huggingface_hub import errors

    status = status_code(error)
    if isinstance(error, errors.OfflineModeIsEnabled):
        reason = "HF_HUB_OFFLINE is set"
    elif status == 401:
        reason = "the hub does not know this HF_TOKEN"
    elif status == 403:
        reason = (
            "this HF_TOKEN may not write there; it needs write access, and you the right to the namespace"
        )
    elif status in RETRIED:
        reason = _refused_for_now(status)
    elif status is not None:
        reason = f"the hub refused ({first_line(error)})"
    else:
        reason = f"the hub could not be reached ({first_line(error)})"
    return MissingError(f"cannot push to '{repo}': {reason}")


def _refused_for_now(status: int) -> str:
    advice = "wait a few minutes" if status == 429 else "try again later"
    times = len(WAITS) + 1
    return f"the hub answers {STATUS_NAMES[status]}, {times} times in a row; {advice}"


def status_code(error: BaseException | None) -> int | None:
    """The HTTP status behind an error; huggingface_hub hides it behind another error where it then looked
    into its local cache in vain."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__
    return None


def _retry_after(error: BaseException) -> float:
    """The seconds that the hub asks to wait; 0 where it does not say."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    value = str(headers.get("Retry-After", ""))
    return float(value) if value.isdecimal() else 0.0


def first_line(error: Exception) -> str:
    """The beginning of an error's message."""
    return (str(error) or type(error).__name__).splitlines()[0][:120]
