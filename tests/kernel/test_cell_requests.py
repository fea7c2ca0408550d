"""What a cell or its target asks of the kernel: directives, answer files, production, progress, where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.parts.kernels import WAIT, Kernel, Run, Starter

pytestmark = pytest.mark.live


def displays(run: Run) -> list[dict[str, Any]]:
    return [m["content"]["data"] for m in run.messages if m["msg_type"] in {"display_data", "update_display_data"}]


def test_a_timeout_stops_the_cell_and_keeps_the_session(kernel: Kernel) -> None:
    kernel.run("$kept = 5")

    run = kernel.run("#% timeout 0.5\n'begun'; while ($true) { Start-Sleep -Milliseconds 20 }")

    assert ("CellTimeout", "begun\n") == (run.ename, run.stdout)
    assert "after 0.5 s" in run.evalue
    assert "5\n" == kernel.run("$kept").stdout


def test_a_cell_within_its_timeout_is_left_alone(kernel: Kernel) -> None:
    assert "ok\n" == kernel.run("#% timeout 60\n'ok'").stdout


def test_a_width_is_the_cells_own(kernel: Kernel) -> None:
    table = "[pscustomobject]@{ A = 'x' * 70; B = 'y' * 70 } | Format-Table"

    assert "x" * 70 + " " + "y" * 70 in kernel.run(f"#% width 200\n{table}").stdout
    assert "x" * 70 + " " + "y" * 70 not in kernel.run(table).stdout


def test_an_assertion_fails_its_cell_unless_all_is_true(kernel: Kernel) -> None:
    held = kernel.run("#% assert\n1 -eq 1; 'text'")
    failed = kernel.run("#% assert\n1 -eq 1; 1 -gt 2")

    assert (held.errors, held.stdout) == ([], "True\ntext\n")
    assert ("AssertionFailed", "True\nFalse\n") == (failed.ename, failed.stdout)
    assert "5\n" == kernel.run("5").stdout


def test_an_error_record_fails_the_cell_that_asks_for_it(kernel: Kernel) -> None:
    cell = "Write-Error 'first'; Write-Error 'second'; 'after'"

    asked, plain = kernel.run(f"#% stop-on-error-record\n{cell}"), kernel.run(cell)

    assert ("ErrorRecord", "error", "after\n") == (asked.ename, asked.status, asked.stdout)
    assert "first" in asked.evalue
    assert "ok" == plain.status


def test_a_cell_with_an_unknown_directive_is_not_sent(kernel: Kernel, tmp_path: Path) -> None:
    run = kernel.run(f"#% timeuot 5\nNew-Item '{tmp_path}/made'")

    assert "DirectiveError" == run.ename
    assert "Did you mean `#% timeout`?" in run.evalue
    assert not run.record["sent"]
    assert not (tmp_path / "made").exists()


def test_a_file_answers_the_prompts_of_a_run(pwsh: str, start: Starter, tmp_path: Path) -> None:
    answers = tmp_path / "answers.yaml"
    answers.write_text("- {prompt: Name, answer: Ann}\n- {prompt: Key, secret: 'env:THE_KEY'}\n")
    kernel = start(f"process:{pwsh}", f"answers={answers}", env={"THE_KEY": "hunter2"})

    run = kernel.run("\"hello $(Read-Host 'Name')\"; (Read-Host 'Key' -AsSecureString).Length; Read-Host 'Else'")

    assert run.stdout.startswith("hello Ann\n")
    assert "7\n" in run.stdout
    assert "no entry of" in run.stderr
    assert "hunter2" not in str([*run.messages, run.reply])


def test_a_confirmation_is_answered_by_what_it_is_about(kernel: Kernel, tmp_path: Path) -> None:
    answers = tmp_path / "answers.yaml"
    answers.write_text(
        f"- {{prompt: '{tmp_path}/keep', answer: n}}\n- {{prompt: Performing the operation, answer: y}}\n"
    )
    for name in ("keep", "drop"):
        (tmp_path / name).touch()

    run = kernel.run(f"#% answers {answers}\nRemove-Item '{tmp_path}/keep', '{tmp_path}/drop' -Confirm")

    assert "ok" == run.status, run.evalue
    assert (True, False) == ((tmp_path / "keep").exists(), (tmp_path / "drop").exists())


def test_a_cell_may_name_a_file_of_answers_but_none_with_secrets(kernel: Kernel, tmp_path: Path) -> None:
    plain, secret = tmp_path / "plain.yaml", tmp_path / "secret.yaml"
    plain.write_text("- {prompt: Name, answers: [Ann, Bob]}\n")
    secret.write_text("- {prompt: Name, secret: 'env:PATH'}\n")

    good = kernel.run(f"#% answers {plain}\n\"$(Read-Host 'Name') $(Read-Host 'Name')\"")
    bad = kernel.run(f"#% answers {secret}\nRead-Host 'Name'")

    assert "Ann Bob\n" == good.stdout
    assert "AnswerFileError" == bad.ename
    assert not bad.record["sent"]


def test_progress_is_one_display_that_is_empty_at_the_end(kernel: Kernel) -> None:
    cell = (
        "Write-Progress -Id 1 -Activity Outer -Status s -PercentComplete 10; Start-Sleep -Milliseconds 150;"
        "Write-Progress -Id 2 -ParentId 1 -Activity Inner -PercentComplete 50; Start-Sleep -Milliseconds 150; 'done'"
    )

    run = kernel.run(cell, allow_stdin=True)

    ids = {
        m["content"]["transient"]["display_id"]
        for m in run.messages
        if m["msg_type"] in {"display_data", "update_display_data"} and "text/html" in m["content"]["data"]
    }
    texts = [data["text/plain"] for data in displays(run) if "text/html" in data]
    assert 1 == len(ids)
    assert any("Outer" in text and "10 %" in text for text in texts)
    assert any("\n  Inner" in text for text in texts)
    assert "" == texts[-1]
    assert ("done\n", "") == (run.stdout, run.stderr)


def test_a_flood_of_progress_is_thinned_and_none_is_kept_by_a_run(kernel: Kernel) -> None:
    cell = "1..2000 | ForEach-Object { Write-Progress -Activity Busy -PercentComplete ($_ / 20) }"

    assert len(displays(kernel.run(cell, allow_stdin=True))) < 100
    assert [] == displays(kernel.run(cell))


def test_the_first_output_of_a_session_says_where_it_is(pwsh: str, start: Starter) -> None:
    kernel = start(f"process:{pwsh}")

    first, second = kernel.run("1", allow_stdin=True), kernel.run("2", allow_stdin=True)
    kernel.run("exit", allow_stdin=True)
    kernel.run("'refused'", allow_stdin=True)
    again = kernel.run("3", allow_stdin=True)

    assert "Connected to local PowerShell" in displays(first)[-1]["text/plain"]
    assert ", PowerShell 7." in displays(first)[-1]["text/plain"]
    assert first.kinds.index("display_data") < first.kinds.index("stream")
    assert [] == displays(second)
    assert "Connected to" in displays(again)[-1]["text/plain"]


def test_every_reply_says_where_the_cell_ran(kernel: Kernel) -> None:
    record = kernel.run("1").record

    assert "process" == record["transport"]
    assert record["target"].startswith("process:")
    assert str(record["version"]).startswith("7.")
    assert kernel.run("[Environment]::UserName").stdout.strip() == record["user"]
    assert kernel.run("[Environment]::MachineName").stdout.strip() == record["computer"]


def test_the_banner_names_the_target(kernel: Kernel) -> None:
    assert "Remote PowerShell on process:" in kernel.ask("kernel_info_request", {}).reply["content"]["banner"]


def typed(kernel: Kernel, cell: str, answer: str) -> tuple[Run, str]:
    request = kernel.send(cell, allow_stdin=True)
    asked = kernel.client.get_stdin_msg(timeout=WAIT)["content"]["prompt"]
    kernel.client.input(answer)
    return kernel.finish(request), asked


def test_production_wants_its_name_once_a_session_and_shows_it_above_each_output(pwsh: str, start: Starter) -> None:
    kernel = start(f"process:{pwsh}", "production=true")
    name = Path("/proc/sys/kernel/hostname").read_text().strip()

    wrong, asked = typed(kernel, "'ran'", "web99")
    right, _ = typed(kernel, "'ran'", name.upper())
    next_one = kernel.run("'again'", allow_stdin=True)

    assert "is a production machine. Type its name" in asked
    assert ("ProductionNotConfirmed", "") == (wrong.ename, wrong.stdout)
    assert not wrong.record["sent"]
    assert ("ran\n", "again\n") == (right.stdout, next_one.stdout)
    assert " PRODUCTION " in right.stderr
    assert " PRODUCTION " in next_one.stderr


def test_a_file_that_a_cell_names_confirms_no_production(pwsh: str, start: Starter, tmp_path: Path) -> None:
    name = Path("/proc/sys/kernel/hostname").read_text().strip()
    answers = tmp_path / "answers.yaml"
    answers.write_text(f"- {{prompt: Type its name, answer: {name}}}\n")
    kernel = start(f"process:{pwsh}", "production=true")

    run, asked = typed(kernel, f"#% answers {answers}\n'ran'", "web99")

    assert "is a production machine" in asked
    assert ("ProductionNotConfirmed", "") == (run.ename, run.stdout)


def test_a_run_on_production_must_name_it(pwsh: str, start: Starter, tmp_path: Path) -> None:
    name = Path("/proc/sys/kernel/hostname").read_text().strip()
    answers = tmp_path / "answers.yaml"
    answers.write_text(f"- {{prompt: Type its name, answer: {name}}}\n")
    silent = start(f"process:{pwsh}", "production=true", f"answers={answers}")
    named = start(f"process:{pwsh}", "production=true", f"confirm={name}")

    refused = silent.run("'ran'")

    assert ("ProductionNotConfirmed", "") == (refused.ename, refused.stdout)
    assert "confirm=NAME" in refused.evalue
    assert "ran\n" == named.run("'ran'").stdout
