"""Examination of a finished run: sound artefacts pass, each kind of damage is named."""

import importlib.util
import json
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "examine.py"
SPEC = importlib.util.spec_from_file_location("examine", TOOL)
assert SPEC is not None
assert SPEC.loader is not None
examine = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(examine)

NO_SCHEMA = ROOT / "no schema"
PDF = b"%PDF-1.7\nbody\n%%EOF\n"
PAGE = b'<!doctype html><html><body><img src="data:image/png;base64,AA=="></body></html>'
DECISION = json.dumps({"headline": "hold"}).encode()


def mail(pdf: bytes, decision: bytes) -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.org", "b@example.org", "Report"
    message["Date"], message["Message-ID"] = "Mon, 31 Dec 2018 00:30:00 +0000", "<one@example.org>"
    message.set_content("hold")
    message.add_attachment(pdf, maintype="application", subtype="pdf", filename="report.pdf")
    message.add_attachment(decision, maintype="application", subtype="json", filename="decision.json")
    return message.as_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    day = tmp_path / "reports" / "2018-12-31"
    day.mkdir(parents=True)
    (day / "report.pdf").write_bytes(PDF)
    (day / "decision.json").write_bytes(DECISION)
    (day / "report.html").write_bytes(PAGE)
    (day / "forum.md").write_bytes(b"# Proposal\n")
    (day / "breaches.csv").write_bytes(b"target_date,symbol\n2018-10-10,NDX\n")
    (tmp_path / "outbox").mkdir()
    (tmp_path / "outbox" / "one.eml").write_bytes(mail(PDF, DECISION))
    return tmp_path


def test_sound_artefacts_pass(folder: Path) -> None:
    assert set(examine.examine(folder, NO_SCHEMA)) == {
        "reports/2018-12-31/report.pdf",
        "reports/2018-12-31/decision.json",
        "reports/2018-12-31/report.html",
        "reports/2018-12-31/forum.md",
        "reports/2018-12-31/breaches.csv",
        "outbox/one.eml",
    }


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("reports/2018-12-31/report.pdf", b"<html>", "does not start like a PDF"),
        ("reports/2018-12-31/report.pdf", PDF[:12], "cut short"),
        ("reports/2018-12-31/report.pdf", None, "missing"),
        ("reports/2018-12-31/decision.json", b"{", "not JSON"),
        ("reports/2018-12-31/decision.json", b"[]", "not an object"),
        ("reports/2018-12-31/report.html", None, "missing"),
        ("reports/2018-12-31/report.html", PAGE[:40], "cut short"),
        ("reports/2018-12-31/report.html", PAGE.replace(b"data:", b"http://x/"), "asks for something outside: img"),
        ("reports/2018-12-31/report.html", PAGE.replace(b"<body>", b"<body><script></script>"), "outside: script"),
        ("reports/2018-12-31/forum.md", b"no title", "has no title"),
        ("reports/2018-12-31/breaches.csv", b"a,b\n1\n", "rows of different lengths"),
        ("reports/2018-12-31/breaches.csv", b"", "or none"),
        ("outbox/one.eml", None, "no mail file"),
        ("outbox/one.eml", b"To: b@example.org\n\nhello", "no From"),
        ("outbox/one.eml", b"hello", "Defect"),
        ("outbox/one.eml", mail(PDF + b"x", DECISION), "*.pdf is not report.pdf"),
        ("outbox/one.eml", mail(PDF, b"{}"), "*.json is not decision.json"),
    ],
)
def test_damage_is_named(folder: Path, name: str, content: bytes | None, said: str) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(examine.Unsound) as caught:
        examine.examine(folder, NO_SCHEMA)
    assert said in str(caught.value)


def test_keys_that_the_schema_requires(folder: Path) -> None:
    schema = folder / "decision_schema.json"
    schema.write_text(json.dumps({"required": ["headline", "decision_id"]}))
    with pytest.raises(examine.Unsound, match="lacks decision_id"):
        examine.examine(folder, schema)


def test_second_run_must_change_nothing(folder: Path) -> None:
    def tool(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(TOOL), str(folder), "--schema", str(NO_SCHEMA), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    first = str(folder / "first.json")
    assert tool("--write", first).returncode == 0
    assert tool("--same-as", first).returncode == 0
    (folder / "outbox" / "two.eml").write_bytes(mail(PDF, DECISION))
    second = tool("--same-as", first)
    assert second.returncode == 1
    assert "outbox/two.eml" in second.stderr
