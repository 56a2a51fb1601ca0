"""What a provider's refusals mean, each in one line that says what to do."""

import contextlib
import re
from collections.abc import Iterator

from microtome.store.errors import MicrotomeError, StoreError

CODE = re.compile(r"<Code>(\w+)</Code>")
STATUS = re.compile(r"status code: (\d{3})")
WRONG_KEY = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthFailure", "ExpiredToken", "InvalidToken"}
WRONG_KEY |= {"AuthenticationFailed", "InvalidAuthenticationInfo"}  # of Azure
NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "TooManyBuckets", "EntityTooLarge"}
# The services of a machine's own role, which are asked where no key was given.
OWN_ROLE = re.compile(
    r"computeMetadata/|metadata\.google|/metadata/identity|resource=https%3A%2F%2Fstorage\.azure\.com"
    r"|latest/(api/token|meta-data)|169\.254\.\d+\.\d+"
)
HOW_TO_LOG_IN = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run: aws configure",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_USE_AZURE_CLI=true",
}
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
        if NO_BUCKET.intersection(CODE.findall(str(error))):
            raise meaning(address, error) from None
        raise
    except (BaseError, OSError) as error:
        raise meaning(address, error) from None


def asks_the_machine(text: str) -> bool:
    """Whether an error says that the service of the machine's own role was asked for a key."""
    return OWN_ROLE.search(text) is not None


def meaning(address: str, error: BaseException) -> RemoteError:
    """An error of obstore as one line. A provider's own text is never passed on whole: it may hold a signed
    address."""
    text = str(error)
    code = next(iter(CODE.findall(text)), "")
    status = next(iter(STATUS.findall(text)), "")
    provider = code or (f"status {status}" if status else type(error).__name__)
    if code in NO_BUCKET:
        return RefusedError(f"there is no bucket at {address}; make it, or correct MICROTOME_STORE")
    if code in WRONG_KEY or status == "401":
        return RefusedError(f"{address} does not take this key ({provider}); renew it, or set another")
    if asks_the_machine(text) or "credential" in text.lower() or "Account must be specified" in text:
        how = HOW_TO_LOG_IN.get(address.partition("://")[0], "the variables of its provider")
        return RefusedError(f"no key for {address} was found; set {how}")
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
