"""Django's own cache tests, with the Django that is installed: see django_suite/run.py."""

from __future__ import annotations

import pytest

from django_suite import run


def test_djangos_own_cache_tests_pass(service: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = run.judged(*run.run(service, stream=False))
    with capsys.disabled():
        print(f"\n{line}")


def test_a_suite_that_ran_in_part_does_not_pass() -> None:
    whole = "\n".join(
        f"test_{number} (cache.tests_pantler.PantlerCacheTests.test_{number}) ... ok" for number in range(62)
    )
    assert "62" in run.judged(1000, whole)
    with pytest.raises(SystemExit, match="expected"):
        run.judged(100, whole)
    with pytest.raises(SystemExit, match="BaseCacheTests"):
        run.judged(1000, whole[: len(whole) // 2])
    with pytest.raises(SystemExit, match="test_other"):
        run.judged(
            1000, whole + "\ntest_other (cache.tests_pantler.PantlerCacheTests.test_other) ... skipped 'because'"
        )
