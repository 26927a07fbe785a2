"""What a user of each language would write first, run against the built service."""

import subprocess
import sys
from pathlib import Path

import pytest
from running import check_odd_keys, gets_and_puts, need, run

PROGRAMS = Path(__file__).resolve().parent / "programs"
# Every program with what runs it.
RUNNERS = {
    "curl.sh": ["sh"],
    "go.go": ["go", "run"],
    "java.java": ["java"],
    "node.mjs": ["node"],
    "php.php": ["php"],
    "python_httpx.py": [sys.executable],
    "python_requests.py": [sys.executable],
    "ruby.rb": ["ruby"],
}
# What more a program needs than what runs it.
NEEDS = {"curl.sh": ["curl"], "java.java": ["javac"]}


def test_every_program_is_run():
    assert {program.name for program in PROGRAMS.iterdir()} == RUNNERS.keys()


@pytest.mark.parametrize("program", RUNNERS)
def test_a_program_finds_what_its_user_expects(service, program, tmp_path):
    runner = RUNNERS[program]
    need(runner[0], *NEEDS.get(program, []))
    if program == "php.php" and subprocess.run(["php", "-r", "curl_version();"], capture_output=True).returncode != 0:
        pytest.skip("PHP has no curl extension here")
    before = gets_and_puts(service)
    run(*runner, PROGRAMS / program, service=service, folder=tmp_path, GOCACHE=str(tmp_path / "cache"))
    after = gets_and_puts(service)
    check_odd_keys(service, program.split(".")[0])
    # Of a thousand plain calls and some tens of odd ones nearly all are recognised in their bytes, whoever sends them.
    fast, full = (after[lane] - before[lane] for lane in ("fast", "full"))
    assert fast >= 1000 and fast >= 0.95 * (fast + full), f"{fast:.0f} took the fast lane and {full:.0f} did not"
