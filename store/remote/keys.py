"""Where the keys of a provider come from: its own chain, which nothing here repeats, and a bound on how long
that chain may look for one.

At the end of each chain stands a service that only the provider's own machines have. Anywhere else nobody
answers, and a client that is patient with a network that is gone would wait minutes for it.
"""

import importlib.util
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from microtome.store.remote.failures import asks_the_machine, meaning

PATIENCE = timedelta(seconds=3)  # with the service of the machine's own role
RETRIES = 1


def credentials_of_boto3(address: str) -> Any:
    """The chain of Amazon's own library (profiles, single sign-on), where that is installed and finds a key;
    obstore itself knows the environment and the machine's own role."""
    if not address.startswith("s3://") or "AWS_ACCESS_KEY_ID" in os.environ:
        return None
    if importlib.util.find_spec("boto3") is None:
        return None
    import boto3
    from obstore.auth.boto3 import Boto3CredentialProvider

    session = boto3.Session()
    return Boto3CredentialProvider(session) if session.get_credentials() is not None else None


def refuse_without_key(address: str, opened: Callable[[timedelta, timedelta, int], Any]) -> None:
    """RefusedError if no key was found for an address, after seconds; nothing else that fails counts here.

    `opened` makes a store of obstore's from the patience with a request, that with retries, and their number.
    """
    import obstore

    try:
        obstore.head(opened(PATIENCE, PATIENCE, RETRIES), "store.json")
    except Exception as error:
        # Whatever else is wrong, the next request says.
        if asks_the_machine(str(error)):
            raise meaning(address, error) from None
