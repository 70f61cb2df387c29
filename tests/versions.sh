#!/usr/bin/env bash
# Run the tests with the versions that are promised: the lowest that pyproject.toml allows, and the newest on the
# newest Python. It prints a line for each, for the table in docs/reliability.md.
#
#     tests/versions.sh                      # both; fifteen minutes each on two cores, 6 GB of disk while they run
#     tests/versions.sh lowest               # one of them
#     tests/versions.sh newest -k hashing    # words after that go to pytest
#
# It needs uv (`pip install uv`), which takes the Pythons that are on this machine and downloads others where it can.
# LOWEST_PYTHON and NEWEST_PYTHON name others, as `uv venv --python` takes them: NEWEST_PYTHON=/opt/python3.15/bin/python.
set -euo pipefail
here=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
case ${1-} in
    lowest | newest) names=$1 && shift ;;
    *) names="lowest newest" ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone --quiet "$here" "$work/bench"
cd "$work/bench"

failed=0 table=""
for name in $names; do
    if [ "$name" = lowest ]; then
        python=${LOWEST_PYTHON:-3.11} resolution=lowest-direct
    else
        python=${NEWEST_PYTHON:-3.13} resolution=highest
    fi
    printf '\n== %s versions, Python %s\n' "$name" "$python"
    uv venv --quiet --python "$python" .venv
    uv pip install --quiet --python .venv/bin/python --resolution "$resolution" \
        --editable '.[benchmarks,docs,generation,huggingface,onnx,parquet,pictures,raster,serve,shapes3d,slurm,tensorboard,test,timm,tune,umap,wandb,webdataset]'
    rm -rf .venv/lib/python3.*/site-packages/tests # torch-fidelity brings a package of this name, which hides ours
    .venv/bin/python -m pytest -q -n 2 --dist loadfile "$@" 2>&1 | tee "$work/log" || failed=1
    versions=$(.venv/bin/python -c '
import platform
from importlib.metadata import version
names = "torch", "numpy", "scipy", "scikit-learn", "pandas", "faiss-cpu", "pillow"
print(platform.python_version(), *("%s %s" % (name, version(name)) for name in names), sep=", ")')
    table+="| $name | $versions | $(tail -1 "$work/log" | sed 's/ in .*//') |"$'\n'
    rm -rf .venv
done
printf '\n| versions | Python, packages | tests |\n|:--|:--|:--|\n%s' "$table"
exit "$failed"
