"""Turns formulas in TeX into MathML, which browsers draw themselves."""

import html
import unicodedata
from xml.etree import ElementTree

from latex2mathml.converter import convert_to_element
from markupsafe import Markup, escape

# Attributes of MathML that say how a formula is drawn; TeX can ask for others, such as links.
_ATTRIBUTES = {
    *("xmlns", "display", "width", "height", "depth", "stretchy", "fence", "form", "accent"),
    *("displaystyle", "scriptlevel", "minsize", "maxsize", "movablelimits", "separator", "lspace", "rspace"),
    *("columnalign", "rowspacing", "columnspacing", "linethickness"),
}
_ALPHABETS = ("double-struck", "script", "fraktur", "monospace", "bold")
_WORDS = {r"\arg\max": r"\operatorname{arg\,max}", r"\arg\min": r"\operatorname{arg\,min}"}


def formula(tex: str, block: bool) -> Markup:
    """Return a formula as MathML, or its TeX as code where that cannot be converted.

    Args:
        tex: The formula, without the signs around it.
        block: Whether it stands on a line of its own.
    """
    for word, other in _WORDS.items():
        tex = tex.replace(word, other)
    try:
        element = convert_to_element(tex.strip(), display="block" if block else "inline")
    except Exception:  # anybody's TeX; the converter has errors of many kinds
        return _as_code(tex)
    for part in element.iter():
        text = html.unescape(part.text or "")
        part.text = "".join(_letter(letter, part.attrib.get("mathvariant", "")) for letter in text)
        upright = part.attrib.get("mathvariant") == "normal"
        part.attrib = {name: value for name, value in part.attrib.items() if name in _ATTRIBUTES}
        if upright:
            part.set("mathvariant", "normal")
        _space_functions(part)
        if part.tag in ("msup", "msub", "msubsup") and len(part) and part[0].tag == "mo":
            part[0].set("stretchy", "false")  # a closing bracket is as high as the opening one
    if "\\" in "".join(element.itertext()):
        return _as_code(tex)
    drawn = Markup(ElementTree.tostring(element, encoding="unicode"))  # tostring escapes
    return Markup('<div class="formula" tabindex="0">{}</div>\n').format(drawn) if block else drawn


def _letter(letter: str, variant: str) -> str:
    """Return a letter of an alphabet such as "double-struck", which browsers know as characters of their own."""
    if variant not in _ALPHABETS or not (letter.isascii() and letter.isalnum()):
        return letter
    kind = "DIGIT" if letter.isdigit() else "CAPITAL" if letter.isupper() else "SMALL"
    name = f"{variant.upper()} {kind} {unicodedata.name(letter).rpartition(' ')[2]}"
    for first in ("MATHEMATICAL ", ""):
        try:
            return unicodedata.lookup(first + name)
        except KeyError:
            continue
    return letter


def _space_functions(row: ElementTree.Element) -> None:
    """Put a thin space after the name of a function that no bracket follows: log x."""
    parts = list(row)
    for number in range(len(parts) - 2, -1, -1):
        name = "".join(parts[number].itertext()) if parts[number].tag == "mi" else ""
        follows = "".join(parts[number + 1].itertext()).strip()[:1]
        if len(name) > 1 and name.isascii() and name.isalpha() and follows not in ("", "(", ")", ",", "&"):
            row.insert(number + 1, ElementTree.Element("mspace", {"width": "0.167em"}))


def _as_code(tex: str) -> Markup:
    return Markup('<code class="formula">{}</code>').format(tex) if tex else escape("")
