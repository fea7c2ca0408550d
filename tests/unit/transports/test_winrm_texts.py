"""What is made of a server's words takes no longer than reading them, however they are meant."""

from __future__ import annotations

import time

import pytest
import requests
from pypsrp.exceptions import WinRMTransportError

from pskernel.transports.winrm.endpoint import WinRMEndpoint
from pskernel.transports.winrm.faults import as_connect_error
from pskernel.transports.winrm.http import without_pages

ENDPOINT = WinRMEndpoint("a", encrypted=False)
SIZE = 1_000_000


@pytest.mark.parametrize(
    "piece", ["<style", "<script>", "<", "</", "<style></script", " ", "[Errno ", "(_ssl.c:1", "\x1b["]
)
def test_pages_and_errors_are_read_once(piece: str) -> None:
    text = piece * (SIZE // len(piece))
    began = time.process_time()
    for error in (
        without_pages(WinRMTransportError("http", 503, text)),
        without_pages(WinRMTransportError("http", 403, text)),
        requests.exceptions.SSLError(text),
        requests.exceptions.ProxyError(text),
        requests.ConnectionError(text),
    ):
        assert len(str(as_connect_error(error, ENDPOINT))) < 3_000
    assert time.process_time() - began < 2


def test_a_page_in_a_line() -> None:
    page = "<html><style>b {}</style><h1>Gone\n fishing</h1><script>x()</script></html>"
    error = without_pages(WinRMTransportError("http", 503, page))
    assert "It said: Gone fishing." in str(as_connect_error(error, ENDPOINT))
