"""Small SVG that can stand in a page beside others."""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from imprint_sweep.analysis.plots.style import FONT

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_HREF = f"{{{_XLINK}}}href"

_STYLE = f"stroke-linejoin: round; stroke-linecap: butt; font-family: '{FONT}', Verdana, Geneva, sans-serif"
"""What the style sheet said, and a font to fall back to: Verdana is as wide, and installed where ours is not."""
_DRAWS_NOTHING = "fill: none"


def tidied(svg: str, name: str) -> str:
    """Matplotlib's SVG, smaller and fit to be inlined.

    - Identifiers begin with `name`, so those of two figures in one page do not clash; what nothing refers to has none.
    - No style sheet: in a page it would apply to the page.
    - Text is text, and can be found and read out. It falls back to a font of the same width.
    - Coordinates have two decimals; metadata, empty groups and line breaks are gone.

    Args:
        svg: as matplotlib writes it with ``svg.fonttype: none``.
        name: of the figure, unique in the page.
    """
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style") or child.get("style") == _DRAWS_NOTHING:
                parent.remove(child)
    used = {id_ for element in root.iter() for id_ in _references(element)}
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
        for attribute, value in element.attrib.items():
            element.set(attribute, _tidied_value(attribute, value, name, used))
        if re.match(r"rotate\(-?0 ", element.get("transform", "")):
            del element.attrib["transform"]
        element.text, element.tail = (element.text or "").strip() or None, None
    _flatten(root)
    root.set("style", _STYLE)
    root.set("role", "img")
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _references(element: Element) -> list[str]:
    """The identifiers to which an element refers."""
    found = [element.get(_HREF, "").removeprefix("#")] if element.get(_HREF) else []
    return found + [id_ for value in element.attrib.values() for id_ in re.findall(r"url\(#(.+?)\)", value)]


def _tidied_value(attribute: str, value: str, name: str, used: set[str]) -> str:
    if attribute == "id":
        return f"{name}-{value}"
    if attribute == _HREF:
        return f"#{name}-{value.removeprefix('#')}"
    value = re.sub(r"url\(#(.+?)\)", rf"url(#{name}-\1)", " ".join(value.split()))
    value = value.replace(f"font-family: '{FONT}'; ", "")
    return re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)


def _flatten(element: Element) -> None:
    """Put the children of groups that say nothing in the place of those groups, and drop what is empty."""
    children = []
    for child in element:
        _flatten(child)
        is_group = child.tag in (f"{{{_SVG}}}g", f"{{{_SVG}}}defs")
        if child.tag == f"{{{_SVG}}}g" and not child.attrib:
            children += list(child)
        elif len(child) or not is_group:
            children.append(child)
    element[:] = children
