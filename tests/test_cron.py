"""Cron expressions as the scheduler of Kubeflow Pipelines reads them: seconds first, fields in their ranges."""

import pytest

from parak8s.errors import InputError
from parak8s.experiment.cron import six_fields


@pytest.mark.parametrize(
    ("cron", "read"),
    [
        ("0 9 * * 1-5", "0 0 9 * * 1-5"),
        ("15 0 9 * * MON", "15 0 9 * * MON"),
        ("*/5  * * * *", "0 */5 * * * *"),
        ("0,30 0-5/2,22 ? jan-MAR sun,mon-fri", "0 0,30 0-5/2,22 ? jan-MAR sun,mon-fri"),
        ("59 59 23 31 12 6", "59 59 23 31 12 6"),
        ("@every 1h30m", "@every 1h30m"),
        ("@daily", "@daily"),
    ],
)
def test_five_fields_get_their_seconds(cron: str, read: str) -> None:
    assert six_fields(cron) == read


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("daily", "expected five fields as in crontab"),
        ("0 2 * *", "expected five fields as in crontab"),
        ("99 99 99 99 99", "the minute must be \\* or from 0 to 59, .*, got '99' in '99 99 99 99 99'"),
        ("a b c d e f", "the second must be .*, got 'a' in"),
        ("0 24 * * *", "the hour must be \\* or from 0 to 23"),
        ("0 0 0 * *", "the day must be \\* or from 1 to 31"),
        ("0 0 * 13 *", "the month must be \\* or from 1 to 12 \\(jan to dec\\)"),
        ("0 0 * * 7", "the weekday must be \\* or from 0 to 6 \\(sun to sat\\)"),
        ("0 0 * mon *", "the month must be .* got 'mon'"),
        ("5-1 * * * *", "the minute must be .* a range of them that rises, .* got '5-1'"),
        ("*/0 * * * *", "the minute must be .* a step above 0 such as \\*/5, got '\\*/0'"),
        ("1,,2 * * * *", "the minute must be .* got ''"),
        ("1-2-3 * * * *", "the minute must be .* got '1-2-3'"),
        ("@foo", "expected @yearly, .* or @every and a duration, such as @every 90m, got '@foo'"),
        ("@every day", "got '@every day'"),
    ],
)
def test_a_field_that_the_scheduler_would_refuse_is_named(cron: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        six_fields(cron)
