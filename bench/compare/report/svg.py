"""Matplotlib's SVG made fit for reading aloud, and for standing with others in one page."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

SVG = "http://www.w3.org/2000/svg"
LINK = "{http://www.w3.org/1999/xlink}href"
METADATA = f"{{{SVG}}}metadata"
STYLE = f"{{{SVG}}}style"


def tidied(drawn: bytes, prefix: str, title: str, description: str) -> Element:
    """The root, with a title and a description, without namespaces; every id begins with the prefix, a name of XML."""
    root = ElementTree.fromstring(drawn)
    _remove(root, METADATA)
    _remove(root, STYLE)  # in a page it would hold for all of it; what it says stands at the root instead
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
        if LINK in element.attrib:
            element.attrib["href"] = element.attrib.pop(LINK)
        _prefix_ids(element, prefix)
    root.attrib |= {"role": "img", "aria-labelledby": f"{prefix}-title {prefix}-description"}
    root.attrib |= {"stroke-linejoin": "round", "stroke-linecap": "butt"}
    for place, (name, text) in enumerate((("title", title), ("desc", description))):
        element = Element(name, {"id": f"{prefix}-title" if name == "title" else f"{prefix}-description"})
        element.text = text
        root.insert(place, element)
    return root


def standalone(root: Element) -> bytes:
    """A file of its own."""
    return bytes(ElementTree.tostring(_with_namespace(root), encoding="utf-8", xml_declaration=True)) + b"\n"


def inline(root: Element) -> str:
    """For a page of HTML."""
    return ElementTree.tostring(root, encoding="unicode")


def _with_namespace(root: Element) -> Element:
    named = Element(root.tag, {"xmlns": SVG} | root.attrib)
    named.extend(root)
    return named


def _remove(root: Element, tag: str) -> None:
    for parent in list(root.iter()):
        for child in parent.findall(tag):
            parent.remove(child)


def _prefix_ids(element: Element, prefix: str) -> None:
    for name, value in element.attrib.items():
        if name == "id":
            element.attrib[name] = f"{prefix}-{value}"
        elif name == "href":
            element.attrib[name] = value.replace("#", f"#{prefix}-", 1)
        else:
            element.attrib[name] = value.replace("url(#", f"url(#{prefix}-")
