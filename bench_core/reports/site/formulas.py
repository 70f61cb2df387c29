"""Turns formulas in TeX into MathML, which browsers draw themselves."""

import html
from xml.etree import ElementTree

from latex2mathml.converter import convert_to_element
from markupsafe import Markup, escape

# Attributes of MathML that say how a formula is drawn; TeX can ask for others, such as links.
_ATTRIBUTES = {
    *("xmlns", "display", "width", "height", "depth", "stretchy", "mathvariant", "fence", "form", "accent"),
    *("displaystyle", "scriptlevel", "minsize", "maxsize", "movablelimits", "separator", "lspace", "rspace"),
    *("columnalign", "rowspacing", "columnspacing", "linethickness"),
}
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
        part.text = html.unescape(part.text or "")
        part.attrib = {name: value for name, value in part.attrib.items() if name in _ATTRIBUTES}
    if "\\" in "".join(element.itertext()):
        return _as_code(tex)
    drawn = Markup(ElementTree.tostring(element, encoding="unicode"))  # tostring escapes
    return Markup('<div class="formula" tabindex="0">{}</div>\n').format(drawn) if block else drawn


def _as_code(tex: str) -> Markup:
    return Markup('<code class="formula">{}</code>').format(tex) if tex else escape("")
