"""How long one waits, and how foreign errors are told."""

import contextlib
import errno

import httpx2
import pytest

from spinaldx.cli import hub as cli_hub
from spinaldx.errors import HubError, OutputError, UsageError
from spinaldx.models import hub_session
from spinaldx.models.hub import HubOptions
from spinaldx.models.hub_session import Patience, explain

OPTIONS = HubOptions(endpoint="http://hub.invalid")


class TestPatience:
    def test_is_whole_while_nothing_fails(self):
        assert (Patience(10).left_s, Patience(10).is_over) == (10, False)

    def test_runs_from_the_first_failure_on(self, monkeypatch):
        monkeypatch.setattr(hub_session.time, "monotonic", lambda: 107.0)
        patience = Patience(10)

        patience.fail(100.0)
        patience.fail(105.0)

        assert (patience.left_s, patience.is_over) == (3.0, False)

    def test_is_over_after_many_failures(self):
        patience = Patience(1e6)
        for _ in range(4):
            patience.fail(hub_session.time.monotonic())

        assert patience.is_over

    def test_comes_back_with_success(self):
        patience = Patience(10)
        patience.fail(-1e6)
        patience.succeed()

        assert (patience.left_s, patience.is_over) == (10, False)

    def test_pauses_longer_each_time(self, monkeypatch, real_pauses):
        slept = []
        monkeypatch.setattr(hub_session.time, "monotonic", lambda: 100.0)
        monkeypatch.setattr(hub_session.time, "sleep", slept.append)
        patience = Patience(1.2)
        for _ in range(3):
            patience.fail(100.0)
            patience.pause()

        assert slept == [0.25, 0.5, 0.6]


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (httpx2.ProxyError("x"), HubError, "the proxy refused"),
        (httpx2.ConnectTimeout("x"), HubError, "no connection in time"),
        (httpx2.ConnectError("CERTIFICATE\n bad"), HubError, "CERTIFICATE bad"),
        (OSError(errno.ENOSPC, "full"), OutputError, "No space left"),
        (PermissionError(errno.EACCES, "denied"), OutputError, "denied"),
        (RuntimeError("odd"), HubError, "not answer as a model hub"),
    ],
)
def test_a_foreign_error_is_told_in_one_line(error, kind, told):
    explained = explain(error, OPTIONS, "lab/net")

    assert type(explained) is kind
    assert told in explained.message
    assert "\n" not in explained.message


def test_an_endpoint_that_is_no_web_address_is_refused():
    with pytest.raises(UsageError, match="no web address"):
        hub_session.check_online(HubOptions(endpoint="ftp://x"), "lab/net")


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        ("https://hub.org", "https://hub.org"),
        ("http://user:hf_SECRET@127.0.0.1:9/hub/", "http://127.0.0.1:9/hub/"),
        ("http://a@b/c@d", "http://b/c@d"),
    ],
)
def test_messages_show_no_password(endpoint, shown):
    options = HubOptions(endpoint=endpoint)
    error = explain(httpx2.ConnectError("refused"), options, "lab/net")

    assert options.shown_endpoint == shown
    assert "SECRET" not in error.message


class TestEnvironment:
    @pytest.fixture(autouse=True)
    def _clean(self, monkeypatch):
        for name in ("ENDPOINT", "TOKEN", "HOME", "HUB_CACHE", "HUB_OFFLINE"):
            monkeypatch.delenv(f"HF_{name}", raising=False)

    def test_defaults(self):
        assert cli_hub.hub_options() == HubOptions()

    def test_is_honoured(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid/")
        monkeypatch.setenv("HF_TOKEN", " hf_x\n")
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        monkeypatch.setenv("HF_HUB_OFFLINE", "yes")

        assert cli_hub.hub_options() == HubOptions(
            "http://hub.invalid", "hf_x", tmp_path / "hub", offline=True
        )

    def test_the_caches_own_variable_wins(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HF_HOME", "/elsewhere")
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))

        assert cli_hub.hub_options().cache == tmp_path


def test_a_call_of_several_requests_is_not_repeated_for_ever():
    session = hub_session.HubSession(OPTIONS, Patience(1e6))
    calls = []

    def fail_late():
        calls.append(1)
        # As after a first page that came.
        session.patience.succeed()
        message = "the second page is cut"
        raise httpx2.ReadError(message)

    with session, pytest.raises(httpx2.ReadError):
        hub_session.ask(session, fail_late)
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("asked", "is_long"),
    [("600", True), ("9" * 5000, True), ("1", False), ("²", False)],
)
def test_only_a_number_of_seconds_is_waited_for(asked, is_long, monkeypatch):
    answer = httpx2.Response(503, headers={"Retry-After": asked.encode()})
    monkeypatch.setattr(httpx2.Client, "send", lambda *_, **__: answer)
    refused = pytest.raises(HubError, match="asks to wait")

    with (
        hub_session.HubSession(OPTIONS, Patience(10)) as session,
        refused if is_long else contextlib.nullcontext(),
    ):
        session.send(httpx2.Request("GET", OPTIONS.endpoint))
