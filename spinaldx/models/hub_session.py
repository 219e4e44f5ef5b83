"""The connection to a model hub: limits, patience, and errors in our own words.

Everything that `huggingface_hub` sends goes through `HubSession`, so nothing waits
for ever and no error of it or of its HTTP library reaches a caller. This module is
imported only when something is to be sent; it takes 0.15 s.
"""

import errno
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx2
import huggingface_hub
from huggingface_hub import HfApi, constants
from huggingface_hub import errors as hub_errors
from huggingface_hub.utils.tqdm import disable_progress_bars

import spinaldx
from spinaldx.errors import HubError, OutputError, SpinalDxError, UsageError
from spinaldx.models.hub import HubOptions

_CONNECT_S = 5.0

# One wait takes at most so much of the patience; the rest is for one more try.
_WAIT_SHARE = 0.75
_LEAST_S = 0.1

# A dead server fails at once; this often without one good byte is enough.
_MOST_FAILURES = 4
_FIRST_PAUSE_S = 0.25
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

_NETWORK_HINT = (
    "Check HF_ENDPOINT, network and proxy; without a network use `spinaldx weights "
    "import FILE` or `--weights DIR`."
)
_ACCESS_HINT = "Set HF_TOKEN to a token with that right, or `hf auth login`."

_Result = TypeVar("_Result")


class Patience:
    """How long a server may give nothing before it counts as dead.

    Args:
        seconds: From the first failure in a row.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None
        self.failures = 0
        # Uploads run in threads of their own.
        self._lock = threading.Lock()

    @property
    def left_s(self) -> float:
        """Seconds left; all of them while nothing fails."""
        if self._since is None:
            return self._seconds
        return max(self._seconds - (time.monotonic() - self._since), _LEAST_S)

    @property
    def is_over(self) -> bool:
        """Whether it is time to give up."""
        return self.failures >= _MOST_FAILURES or self.left_s <= _LEAST_S

    def fail(self, started: float) -> None:
        """Note that what was started at a monotonic time has failed."""
        with self._lock:
            self._since = started if self._since is None else self._since
            self.failures += 1

    def succeed(self) -> None:
        """Note that something good came."""
        with self._lock:
            self._since, self.failures = None, 0

    def pause(self) -> None:
        """Wait a moment before the next try, longer each time."""
        wished = _FIRST_PAUSE_S * 2 ** max(self.failures - 1, 0)
        time.sleep(min(wished, self.left_s / 2))


class HubSession(httpx2.Client):
    """An HTTP client that bounds every wait and gives up on a dead server.

    Args:
        options: Endpoint and patience.
        patience: Shared with whoever reads the bodies.
    """

    def __init__(self, options: HubOptions, patience: Patience) -> None:
        super().__init__(follow_redirects=True, max_redirects=5)
        self.hub = options
        self.patience = patience

    def send(self, request: httpx2.Request, **more: Any) -> httpx2.Response:  # noqa: ANN401 - as the base class has it
        """Send a request within the patience that is left.

        Raises:
            HubError: If the server is dead, overloaded or asks to wait for long.
            httpx2.TransportError: If it failed, but may be asked again.
        """
        limit = min(_WAIT_SHARE * self.hub.patience_s, self.patience.left_s)
        timeout = httpx2.Timeout(limit, connect=min(_CONNECT_S, limit))
        request.extensions["timeout"] = timeout.as_dict()
        started = time.monotonic()
        try:
            response = super().send(request, **more)
        except httpx2.TransportError as error:
            self.fail(started, error)
            raise
        if response.status_code in _PASSING_STATUS:
            self._fail_by_status(started, response)
        elif not more.get("stream", False):
            self.patience.succeed()
        return response

    def fail(self, started: float, error: Exception) -> None:
        """Note a failure; raise when that was enough.

        Raises:
            HubError: If the server gave nothing for too long.
        """
        self.patience.fail(started)
        if self.patience.is_over:
            raise explain(error, self.hub) from error

    def _fail_by_status(self, started: float, response: httpx2.Response) -> None:
        self.patience.fail(started)
        asked = response.headers.get("retry-after", "")
        # Any other than decimal digits, such as a date, says nothing. Unlike int,
        # float takes as many of them as a server may send.
        is_long = asked.isdecimal() and float(asked) > self.patience.left_s
        if is_long or self.patience.is_over:
            response.close()
            wait = f", asks to wait {asked} s" if is_long else ""
            message = (
                f"{self.hub.shown_endpoint} is overloaded or broken: HTTP status "
                f"{response.status_code}{wait}."
            )
            raise HubError(message, hint="Try again later.")

    def persist(
        self,
        call: Callable[[], _Result],
        is_done: Callable[[], bool] = lambda: True,
        most_tries: float = math.inf,
    ) -> _Result:
        """Make a call; repeat it while the server may recover.

        Args:
            call: May fail half way, and then be made again.
            is_done: Whether what it returned is all there is.
            most_tries: For a call of several requests, whose first success would
                give patience back for ever; 1 for what must not be done twice.

        Raises:
            HubError: If the server gave nothing for too long.
            httpx2.TransportError: As the last try did.
            HfHubHTTPError: If the server refuses, or as the last try did.
        """
        tries = 0
        while True:
            tries += 1
            started, failures = time.monotonic(), self.patience.failures
            try:
                result = call()
            except httpx2.TransportError as error:
                if tries >= most_tries:
                    raise
                # An error of the request itself has been counted by `send`.
                if self.patience.failures == failures:
                    self.fail(started, error)
            except hub_errors.HfHubHTTPError as error:
                is_passing = error.response.status_code in _PASSING_STATUS
                if not is_passing or tries >= most_tries:
                    raise
            else:
                if is_done():
                    self.patience.succeed()
                    return result
            self.patience.pause()


@contextmanager
def open_hub(options: HubOptions, what: str) -> Iterator[tuple[HfApi, HubSession]]:
    """Open the connection; inside, foreign errors become ours.

    Args:
        options: Endpoint, token, patience.
        what: What is being asked for, for messages: ``ORG/NAME@REVISION``.

    Yields:
        The hub's API and the session that it sends through.

    Raises:
        HubError: If offline, or the hub did not give what was asked.
        OutputError: If this machine's disk is full.
        UsageError: If the endpoint is no web address.
    """
    check_online(options, what)
    patience = Patience(options.patience_s)
    # It closes and reopens its client as it sees fit; ours stays open.
    huggingface_hub.set_client_factory(lambda: HubSession(options, patience))
    session = HubSession(options, patience)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    disable_progress_bars()
    # Read at the import, which may have happened before the environment was set.
    constants.HF_HUB_DISABLE_XET = True
    constants.HF_HUB_DISABLE_TELEMETRY = True
    api = HfApi(
        endpoint=options.endpoint,
        token=options.token or None,
        library_name="spinaldx",
        library_version=spinaldx.__version__,
    )
    try:
        yield api, session
    except (OSError, RuntimeError, httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise explain(error, options, what) from error
    finally:
        session.close()
        huggingface_hub.close_session()


def ask(
    session: HubSession, call: Callable[[], _Result], *, writes: bool = False
) -> _Result:
    """Make a call to the hub's API and parse its answer.

    Args:
        session: From `open_hub`.
        call: Asks and parses.
        writes: Whether it changes the hub, and so must not be made twice.

    Raises:
        HubError: If the answer is not one of a hub, or none came.
    """
    try:
        return session.persist(call, most_tries=1 if writes else _MOST_FAILURES)
    except hub_errors.HfHubHTTPError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise explain(error, session.hub) from error


def check_online(options: HubOptions, what: str) -> None:
    """Refuse before anything is sent.

    Raises:
        HubError: If offline.
        UsageError: If the endpoint is no web address.
    """
    if options.offline:
        message = f"{what} needs the hub, and HF_HUB_OFFLINE forbids to ask it."
        hint = (
            "Unset HF_HUB_OFFLINE, or carry the bundle by file: `spinaldx weights "
            "export`, `spinaldx weights import`."
        )
        raise HubError(message, hint=hint)
    if not options.endpoint.startswith(("http://", "https://")):
        message = f"HF_ENDPOINT is no web address: {options.shown_endpoint!r}"
        raise UsageError(message)


def explain(error: Exception, options: HubOptions, what: str = "") -> SpinalDxError:
    """Say in one line what a foreign error means for the user."""
    inner = error.__cause__
    # Errors of uploads in threads come wrapped.
    if isinstance(error, RuntimeError) and isinstance(inner, Exception):
        return inner if isinstance(inner, SpinalDxError) else explain(inner, options)
    if isinstance(error, hub_errors.HfHubHTTPError):
        return _explain_status(error, options, what or "the hub")
    if isinstance(error, httpx2.HTTPError | httpx2.InvalidURL):
        return _explain_transport(error, options)
    if isinstance(error, OSError):
        return _explain_system(error, what)
    message = f"{options.shown_endpoint} does not answer as a model hub does."
    hint = f"A login page or a proxy may stand between. {_NETWORK_HINT}"
    return HubError(message, hint=hint)


def _explain_system(error: OSError, what: str) -> SpinalDxError:
    if isinstance(error, hub_errors.LocalTokenNotFoundError):
        return HubError(f"There is no token for {what}.", hint=_ACCESS_HINT)
    message = f"Cannot store {what}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = f"No space left to store {what}."
    return OutputError(message, hint="Free space, or set SPINALDX_WEIGHTS.")


def _explain_transport(error: Exception, options: HubOptions) -> HubError:
    reasons: dict[type[Exception], str] = {
        httpx2.ConnectTimeout: "no connection in time",
        httpx2.ReadTimeout: "no answer in time",
        httpx2.WriteTimeout: "it takes no data",
        httpx2.ProxyError: "the proxy refused",
        httpx2.TooManyRedirects: "it redirects in circles",
        httpx2.RemoteProtocolError: "the connection was cut",
        httpx2.ReadError: "the connection was cut",
    }
    told = " ".join(str(error).split()) or type(error).__name__
    reason = reasons.get(type(error), told)
    message = f"Cannot reach {options.shown_endpoint}: {reason}."
    return HubError(message, hint=_NETWORK_HINT)


def _explain_status(
    error: hub_errors.HfHubHTTPError, options: HubOptions, what: str
) -> HubError:
    where = f"at {options.shown_endpoint}"
    if isinstance(error, hub_errors.GatedRepoError):
        hint = f"Accept its terms in a browser. {_ACCESS_HINT}"
        return HubError(f"{what} {where} is gated, access was not granted.", hint=hint)
    if isinstance(error, hub_errors.RepositoryNotFoundError):
        message = f"{what} does not exist {where}, or is private."
        return HubError(message, hint=f"Check the name. {_ACCESS_HINT}")
    if isinstance(error, hub_errors.RevisionNotFoundError):
        message = f"{what} {where}: no such branch, tag or commit."
        return HubError(message, hint="Check what stands behind the @.")
    if isinstance(error, hub_errors.RemoteEntryNotFoundError):
        message = f"{what} {where} lacks a file of the bundle."
        return HubError(message, hint="Ask its publisher, or pull another revision.")
    status = error.response.status_code
    if status in (401, 403):
        message = (
            f"{options.shown_endpoint} refuses access to {what} (HTTP status {status})."
        )
        return HubError(message, hint=f"The token may be wrong. {_ACCESS_HINT}")
    told = " ".join((error.server_message or "").split())[:200]
    message = (
        f"{options.shown_endpoint} refuses {what}: HTTP status {status} {told}".rstrip()
    )
    return HubError(f"{message}.", hint=_NETWORK_HINT)
