"""Examine what `make report` left: used by .ci/run, needs nothing of the project's own code.

What lives here: opening each artefact as a reader would, with another library than wrote it. What does not:
judging the numbers inside, which is the tests' work.
"""

import argparse
import csv
import email
import email.policy
import hashlib
import json
import sys
from html.parser import HTMLParser
from pathlib import Path

SCHEMA = Path(__file__).resolve().parents[1] / "docs" / "decision_schema.json"


class Unsound(Exception):  # noqa: N818
    """An artefact is missing or not what it says it is."""


def expect(is_so: bool, what: str) -> None:
    """Stop with a plain sentence unless something holds."""
    if not is_so:
        raise Unsound(what)


def examine(folder: Path, schema: Path = SCHEMA) -> dict[str, str]:
    """Check the report, the decision and the mail of a profile's newest day.

    Parameters
    ----------
    folder
        The profile's folder.
    schema
        JSON schema of the decision; without the file, or without a validator, less is checked.

    Returns
    -------
    dict
        Path below the folder to SHA-256, of every artefact; paths of all mails are among them.

    Raises
    ------
    Unsound
        Names the file and what is wrong with it.
    """
    days = sorted((folder / "reports").glob("????-??-??"))
    expect(bool(days), f"{folder / 'reports'}: no report folder; did `make report` run?")
    pdf, decision = days[-1] / "report.pdf", days[-1] / "decision.json"
    for path in (pdf, decision):
        expect(path.is_file(), f"{path}: missing")
    expect(pdf.read_bytes().startswith(b"%PDF-"), f"{pdf}: does not start like a PDF")
    expect(b"%%EOF" in pdf.read_bytes()[-1024:], f"{pdf}: cut short")
    _decision(decision, schema)
    others = _others(days[-1])
    mails = sorted((folder / "outbox").glob("**/*.eml"))
    expect(bool(mails), f"{folder / 'outbox'}: no mail file")
    for path in mails:
        _mail(path, {"report.pdf": pdf.read_bytes(), "decision.json": decision.read_bytes()})
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (pdf, decision, *others, *mails)
    }


def _decision(path: Path, schema_path: Path) -> None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Unsound(f"{path}: not JSON: {error}") from error
    expect(isinstance(content, dict) and bool(content), f"{path}: not an object with content")
    if not schema_path.is_file():
        return
    schema = json.loads(schema_path.read_text(encoding="utf-8"))
    missing = sorted(set(schema.get("required", [])) - set(content))
    expect(not missing, f"{path}: lacks {', '.join(missing)}")
    try:
        import jsonschema
    except ImportError:
        return
    faults = sorted(jsonschema.Draft202012Validator(schema).iter_errors(content), key=lambda fault: fault.json_path)
    expect(not faults, f"{path}: " + "; ".join(f"{fault.json_path}: {fault.message}" for fault in faults[:5]))


class _Page(HTMLParser):
    """Counts what a page without scripts and requests must not have, and whether it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.is_ended = False
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note scripts and addresses outside the page."""
        outside = [value for name, value in attrs if name in ("src", "srcset") and value and "//" in value[:9]]
        if tag == "script" or outside:
            self.foreign.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Note the end."""
        self.is_ended = self.is_ended or tag == "html"


def _others(day: Path) -> list[Path]:
    """Check the web page, the post and the table of breaches."""
    page, post, breaches = day / "report.html", day / "forum.md", day / "breaches.csv"
    for path in (page, post, breaches):
        expect(path.is_file(), f"{path}: missing")
    parsed = _Page()
    parsed.feed(page.read_text(encoding="utf-8"))
    expect(parsed.is_ended, f"{page}: cut short")
    expect(not parsed.foreign, f"{page}: asks for something outside: {', '.join(parsed.foreign)}")
    expect(post.read_text(encoding="utf-8").startswith("# "), f"{post}: has no title")
    rows = list(csv.reader(breaches.read_text(encoding="utf-8").splitlines()))
    expect(len({len(row) for row in rows}) == 1, f"{breaches}: rows of different lengths, or none")
    return [page, post, breaches]


def _mail(path: Path, artefacts: dict[str, bytes]) -> None:
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    expect(not message.defects, f"{path}: {message.defects}")
    for header in ("From", "To", "Subject", "Date", "Message-ID"):
        expect(bool(message[header]), f"{path}: no {header}")
    expect(message.get_body(("plain",)) is not None, f"{path}: no plain text part")
    attached = {part.get_filename() or "": part.get_payload(decode=True) for part in message.iter_attachments()}
    for name, content in artefacts.items():
        kind = Path(name).suffix
        found = [payload for filename, payload in attached.items() if filename.endswith(kind)]
        expect(
            found == [content],
            f"{path}: the attachment *{kind} is not {name} as it lies in the report folder",
        )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the profile's folder, e.g. var/embedded")
    parser.add_argument("--write", type=Path, help="write the hashes here")
    parser.add_argument("--same-as", type=Path, help="hashes of an earlier run that must not have changed")
    parser.add_argument("--schema", type=Path, default=SCHEMA, help="JSON schema of the decision")
    words = parser.parse_args()
    try:
        found = examine(words.folder, words.schema)
        if words.same_as:
            before = json.loads(words.same_as.read_text(encoding="utf-8"))
            changed = sorted(key for key in before.keys() | found.keys() if before.get(key) != found.get(key))
            expect(not changed, f"an identical rerun changed or added: {', '.join(changed)}")
        if words.write:
            words.write.write_text(json.dumps(found, indent=1), encoding="utf-8")
    except Unsound as fault:
        sys.stderr.write(f"examine: {fault}\n")
        return 1
    sys.stdout.write("".join(f"{digest}  {name}\n" for name, digest in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
