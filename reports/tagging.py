"""Tagging: what the PDF writer leaves undone for readers who cannot see the page.

What lives here: a pass over the finished PDF: running heads become artifacts, header cells get a scope, links print.
What does not: any visible change.
"""

import io
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, Operator


def _children(element: Any) -> list[Any]:
    kids = element.get("/K")
    if kids is None:
        return []
    return list(kids) if isinstance(kids, Array) else [kids]


class _Walk:
    """Collects the marked content that the structure refers to, and the elements with an identifier."""

    def __init__(self) -> None:
        self.referenced: dict[Any, set[int]] = {}
        self.identified: list[tuple[bytes, Any]] = []

    def visit(self, element: Any, page: Any) -> None:
        own = element.get("/Pg")
        page = own.objgen if own is not None else page
        if element.get("/ID") is not None:
            self.identified.append((bytes(element.ID), element))
        if element.get("/S") == Name.TH:
            attributes = element.get("/A")
            if not isinstance(attributes, Dictionary):
                attributes = Dictionary(O=Name.Table)
            if "/Scope" not in attributes:
                attributes["/Scope"] = Name.Column
            element.A = attributes
        for kid in _children(element):
            if isinstance(kid, int):
                self.referenced.setdefault(page, set()).add(kid)
            elif isinstance(kid, Dictionary):
                kind = kid.get("/Type")
                if kind == Name.MCR:
                    of = kid.get("/Pg")
                    self.referenced.setdefault(of.objgen if of is not None else page, set()).add(int(kid.MCID))
                elif kind != Name.OBJR:
                    self.visit(kid, page)


def _is_unreferenced(instruction: Any, kept: set[int]) -> bool:
    if str(instruction.operator) != "BDC":
        return False
    properties = instruction.operands[1]
    return isinstance(properties, Dictionary) and "/MCID" in properties and int(properties.MCID) not in kept


def finish(content: bytes) -> bytes:
    """Return the same document with its structure completed; bytes depend on the input alone."""
    with pikepdf.open(io.BytesIO(content)) as pdf:
        root = pdf.Root.get("/StructTreeRoot")
        if root is None:
            return content
        walk = _Walk()
        for kid in _children(root):
            walk.visit(kid, None)
        artifact = Operator("BDC")
        for page in pdf.pages:
            kept = walk.referenced.get(page.obj.objgen, set())
            rewritten = [
                pikepdf.ContentStreamInstruction([Name.Artifact, Dictionary(Type=Name.Pagination)], artifact)
                if _is_unreferenced(instruction, kept)
                else instruction
                for instruction in pikepdf.parse_content_stream(page)
            ]
            page.Contents = pdf.make_stream(pikepdf.unparse_content_stream(rewritten))
            for annotation in page.get("/Annots", []):
                if annotation.get("/Subtype") == Name.Link:
                    annotation.F = 4
            page.Tabs = Name.S
        if walk.identified:
            names = Array()
            for identifier, element in sorted(walk.identified, key=lambda pair: pair[0]):
                names.append(pikepdf.String(identifier))
                names.append(element)
            root.IDTree = pdf.make_indirect(Dictionary(Names=names))
        out = io.BytesIO()
        pdf.save(
            out, object_stream_mode=pikepdf.ObjectStreamMode.generate, deterministic_id=True, compress_streams=True
        )
        return out.getvalue()
