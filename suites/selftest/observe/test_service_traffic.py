"""What the client programs say of requests to a service of somebody's own."""

from harness.kube.api import ExecResult
from harness.observe.service_traffic import http_requests, tcp_requests, wget_request


def test_programs_say_what_became_of_a_request() -> None:
    curl = (
        "HTTP/1.1 200 OK\n\nhello\n@@eastwest 200 0 \n"
        "HTTP/1.1 503 Service Unavailable\n\nno healthy upstream\n@@eastwest 503 0 \n"
        "HTTP/1.1 404 Not Found\n\n@@eastwest 404 0 \n"
        "\n@@eastwest 000 7 Failed to connect\n"
    )
    good, made_up, own, lost = http_requests(curl)
    assert (good.status, good.error) == (200, "")
    assert made_up.error == "a proxy replied 503: no healthy upstream"
    assert (own.status, own.error) == (404, "")
    assert (lost.status, lost.error) == (0, "Failed to connect")
    refused = wget_request(ExecResult(1, "", "  HTTP/1.1 503 Service Unavailable\nwget: server returned error\n"))
    assert (refused.status, refused.error) == (503, "")
    silent = wget_request(ExecResult(1, "", "wget: can't connect to remote host: Connection refused"))
    assert (silent.status, silent.error) == (0, "wget: can't connect to remote host: Connection refused")
    connected, failed = tcp_requests("@@eastwest 000 28 timed out\n@@eastwest 000 7 Failed to connect\n")
    assert (connected.error, failed.error) == ("", "Failed to connect")
