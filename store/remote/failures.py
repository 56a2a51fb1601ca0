"""What a provider's refusals mean, each in one line that says what to do."""

import contextlib
import re
from collections.abc import Iterator

from microtome.store.errors import MicrotomeError, StoreError

CODE = re.compile(r"<Code>(\w+)</Code>")
STATUS = re.compile(r"status code: (\d{3})")
WRONG_KEY = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthFailure", "ExpiredToken", "InvalidToken"}
FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "TooManyBuckets", "EntityTooLarge"}
NO_SPACE = ("No space left", "quota exceeded", "Disk quota", "507 ")


class RemoteError(StoreError):
    """Object storage refuses, or cannot be reached."""


class RefusedError(RemoteError):
    """A refusal that another try does not change: a wrong key, no rights, no bucket, no room."""


@contextlib.contextmanager
def in_our_words(address: str) -> Iterator[None]:
    """Whatever obstore raises, as one RemoteError; that an object is missing, or there already, passes."""
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    try:
        yield
    except (MicrotomeError, AlreadyExistsError, PreconditionError):
        raise
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise _meaning(address, error) from None
        raise
    except (BaseError, OSError) as error:
        raise _meaning(address, error) from None


def _meaning(address: str, error: BaseException) -> RemoteError:
    """The text of a provider is never passed on whole: it may hold a signed address."""
    text = str(error)
    code = next(iter(CODE.findall(text)), "")
    status = next(iter(STATUS.findall(text)), "")
    provider = code or (f"status {status}" if status else type(error).__name__)
    if code == "NoSuchBucket":
        return RefusedError(f"there is no bucket at {address}; make it, or correct MICROTOME_STORE")
    if "169.254.169.254" in text or "metadata.google" in text or "credential" in text.lower():
        return RefusedError(
            f"no key for {address} was found; log in with the provider's own tool, or set its variables, "
            "such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if code in WRONG_KEY or status == "401":
        return RefusedError(f"{address} does not take this key ({provider}); renew it, or set another")
    if code in FULL or status == "507" or any(sign in text for sign in NO_SPACE):
        return RefusedError(f"{address} is full ({provider}); make room there, then run the same again")
    if status == "403":
        return RefusedError(f"no rights to {address} ({provider}); ask its owner to let you read and write")
    if "error sending request" in text or "retries" in text or "timed out" in text:
        return RemoteError(f"cannot reach {address} ({_tries(text)}); when it is back, run the same again")
    return RemoteError(f"{address} refused ({provider}); see its provider's log")


def _tries(text: str) -> str:
    match = re.search(r"after (\d+) retries", text)
    status = next(iter(STATUS.findall(text)), "")
    tried = f"tried {int(match.group(1)) + 1} times" if match else "no answer"
    return f"status {status}, {tried}" if status else tried
