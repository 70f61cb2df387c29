"""Makes a folder of HTML pages from records: boards, comparisons, plots, methods, tasks, claims and cells.

content.py      what the pages are of: boards with their cells, claims, pages of the manual
writer.py       writes pages from templates, data as scripts, and files; the same content gives the same bytes
build.py        walks through all parts and writes them
..._page(s).py  one part each: it takes the content, and writes its pages and data
plots/          the numbers behind each kind of plot
templates/      Jinja templates, all of them on base.html; values are escaped
static/         our styles and scripts; bench.js is the first, and everything hangs on its one global `bench`
vendor/         the table and the plot library, minified, with version, digest and licence

Pages work from `file://`: no modules and no fetch. Data are classic scripts that call `bench.put(name, value)`.
"""
