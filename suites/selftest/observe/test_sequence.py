"""Sequences of requests: the script as a shell runs it, with a curl that is a stub, and the reading of its output."""

import os
import subprocess
from pathlib import Path

import pytest

from harness.observe.sequence import SequencePlan, broken_off, requests, script, versions_seen

URL = "http://helloworld.sample:5000/hello"
CURL = """#!/bin/sh
# Answers each request of a URL that ends in #[1-N] as the next word of the file says, the last one for ever.
for last; do :; done
count=${last##*-} count=${count%]} n=0
read -r done <"$ANSWERS.done"
while [ "$n" -lt "$count" ]; do
  n=$((n + 1)) done=$((done + 1)) line=0
  while [ "$line" -lt "$done" ] && read -r next; do answer=$next line=$((line + 1)); done <"$ANSWERS"
  echo "$done" >"$ANSWERS.done"
  case $answer in
  v*) printf 'Hello version: %s, instance: helloworld-%s-x\\n\\n@@ 200 0.0015 1 0 \\n' "$answer" "$answer" ;;
  503) printf 'upstream connect error\\n@@ 503 0.0021 1 0 \\n' ;;
  hang) printf '\\n@@ 000 4.999 1 28 Operation timed out after 5001 milliseconds\\n'; exit 28 ;;
  none) exit 127 ;;
  esac
done
"""


def sent(tmp_path: Path, plan: SequencePlan, *answers: str) -> str:
    """What the script prints when helloworld answers like this."""
    curl, listed = tmp_path / "curl", tmp_path / "answers"
    curl.write_text(CURL)
    curl.chmod(0o755)
    listed.write_text("".join(f"{answer}\n" for answer in answers))
    listed.with_suffix(".done").write_text("0\n")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ANSWERS": str(listed)}
    return subprocess.run(
        ["sh", "-c", script(plan)], env=environment, capture_output=True, text=True, check=True, timeout=20
    ).stdout


def test_coverage_ends_when_every_version_has_answered_but_not_before_the_chapters_ten(tmp_path: Path) -> None:
    plan = SequencePlan(URL, cap=21, versions=("v1", "v2"), least=10)
    assert len(requests(sent(tmp_path, plan, "v1", "v2"))) == 10
    late = requests(sent(tmp_path, plan, *["v1"] * 13, "v2"))
    assert [request.version for request in late] == ["v1"] * 13 + ["v2"]


def test_coverage_ends_at_its_cap_without_a_version(tmp_path: Path) -> None:
    found = requests(sent(tmp_path, SequencePlan(URL, cap=21, versions=("v1", "v2"), least=10), "v1"))
    assert len(found) == 21
    assert versions_seen(found) == {"v1"}


def test_a_distribution_sends_exactly_its_number_in_chunks(tmp_path: Path) -> None:
    plan = SequencePlan(URL, cap=53, chunk=20)
    output = sent(tmp_path, plan, *["v1", "v2"] * 26, "v1")
    assert output.count("@@ clock") == 3
    found = requests(output)
    assert len(found) == 53
    assert all(request.seconds == 0.0015 and not request.error for request in found)


def test_after_a_hanging_request_the_rest_of_a_chunk_is_still_sent(tmp_path: Path) -> None:
    found = requests(sent(tmp_path, SequencePlan(URL, cap=30, chunk=20), "v1", "hang", "v2"))
    assert len(found) == 30
    assert (found[1].status, found[1].error) == (0, "Operation timed out after 5001 milliseconds")


@pytest.mark.parametrize(("answer", "count"), [("hang", 2), ("503", 10)])
def test_what_clearly_fails_is_broken_off(tmp_path: Path, answer: str, count: int) -> None:
    plan = SequencePlan(URL, cap=400, patience=10)
    found = requests(sent(tmp_path, plan, answer))
    assert len(found) == count
    assert broken_off(plan, found)


def test_a_few_errors_do_not_break_it_off(tmp_path: Path) -> None:
    plan = SequencePlan(URL, cap=40, chunk=20)
    found = requests(sent(tmp_path, plan, "503", "503", "v1"))
    assert len(found) == 40
    assert not broken_off(plan, found)
    assert found[0].error == "upstream connect error"


def test_without_a_working_curl_it_ends_at_once(tmp_path: Path) -> None:
    assert requests(sent(tmp_path, SequencePlan(URL, cap=400), "none")) == ()


def test_no_request_is_sent_after_its_time(tmp_path: Path) -> None:
    plan = SequencePlan(URL, cap=400, seconds=0, chunk=20)
    assert len(requests(sent(tmp_path, plan, "v1"))) == 20


def test_each_request_carries_the_id_by_which_it_is_found_again(tmp_path: Path) -> None:
    """The stub says what it was called with, in the place of the answering pod."""
    curl = tmp_path / "curl"
    curl.write_text(
        '#!/bin/sh\nfor word; do case $word in x-request*) printf "%s\\n@@ 200 0.1 1 0 \\n" "$word"; esac; done\n'
    )
    curl.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    plan = SequencePlan(URL, cap=2, request_id="ew-0123456789")
    found = subprocess.run(["sh", "-c", script(plan)], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.count("x-request-id: ew-0123456789\n@@ 200") == 2
