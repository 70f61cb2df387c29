"""Fetch the libraries of the site's pages and of the manual from npm: `python .ci/vendor.py`; needs npm and network.

What a `versions.toml` names is installed into a scratch folder, compared with the digests there, and copied beside that
file with the licences of all that is inside. To take another version, write it and an empty `sha256` into the file; the
script then prints the digest to write down.
"""

import hashlib
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDERS = (ROOT / "bench_core" / "reports" / "site" / "vendor", ROOT / "docs" / "manual")


def fetch(vendor: Path) -> None:
    """Fetch all libraries of a folder; nothing is written there where a digest differs."""
    libraries = tomllib.loads((vendor / "versions.toml").read_text(encoding="utf-8"))["library"]
    with tempfile.TemporaryDirectory() as folder:
        wanted = [f"{library['package']}@{library['version']}" for library in libraries]
        install = ["npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", *wanted]
        subprocess.run(install, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        modules = Path(folder) / "node_modules"
        files = {library["file"]: _checked(library, modules) for library in libraries}
        files |= {library["licence_file"]: _licences(library, modules) for library in libraries}
        for name, content in files.items():
            (vendor / name).write_bytes(content)
            print(f"{name}: {len(content):,} bytes")


def _checked(library: dict[str, Any], modules: Path) -> bytes:
    """Return a library's file; end where its digest is another one than was written down."""
    path: Path = modules / library["package"] / library["path"]
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if not library["sha256"]:
        print(f'{library["file"]}: write sha256 = "{digest}"')
    elif digest != library["sha256"]:
        sys.exit(f"{library['file']} has the SHA-256 {digest}; versions.toml says {library['sha256']}; nothing written")
    return content


def _licences(library: dict[str, Any], modules: Path) -> bytes:
    """Return the licences of a library and of what it bundles; equal texts stand once, under all their packages."""
    bundled = [path for pattern in library["bundles"] for path in sorted(modules.glob(pattern))]
    packages: dict[str, list[str]] = {}
    for folder in [modules / library["package"], *bundled]:
        text = next(folder.glob("LICENSE*")).read_text(encoding="utf-8").strip()
        packages.setdefault(text, []).append(folder.relative_to(modules).as_posix())
    parts = [f"{', '.join(names)}\n\n{text}\n" for text, names in packages.items()]
    return f"\n{'-' * 80}\n\n".join(parts).encode()


if __name__ == "__main__":
    for folder in FOLDERS:
        fetch(folder)
