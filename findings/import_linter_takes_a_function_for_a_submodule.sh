#!/usr/bin/env bash
# import-linter 2.17 (grimp 3.20): a function that a package exports under the name of its own submodule counts as that
# submodule. `from shop import checkout` gets the function at run time, since `shop/__init__.py` has bound the name; the
# import graph has an edge to the module `shop.checkout` all the same. So a `protected` contract, which says that the
# modules of `shop` are imported by `shop` alone, is broken by a caller that only uses the face of the package. With the
# module renamed, the same caller keeps the contract.
#
# Seen:
#   at run time: function
#   one name for both: - till -> shop.checkout (l.1)
#   module renamed: KEPT
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "import-linter==2.17" "grimp==3.20" 
mkdir shop till
echo 'from .checkout import checkout' >shop/__init__.py
echo 'def checkout(): pass' >shop/checkout.py
echo 'from shop import checkout' >till/__init__.py
cat >linter.ini <<'INI'
[importlinter]
root_packages =
    shop
    till

[importlinter:contract:face]
name = shop is imported by its face
type = protected
protected_modules = shop.*
allowed_importers = shop
INI
run() { PYTHONPATH=. venv/bin/lint-imports linter.ini --no-cache --no-logo || true; }
seen=$(
    PYTHONPATH=. venv/bin/python -c 'from shop import checkout; print("at run time:", type(checkout).__name__)'
    echo "one name for both: $(run | grep -o -- '- till -> shop.checkout.*)')"
    mv shop/checkout.py shop/till_work.py
    echo 'from .till_work import checkout' >shop/__init__.py
    echo "module renamed: $(run | grep -o 'KEPT' | head -n 1)"
)
echo "$seen"
[ "$seen" = "at run time: function
one name for both: - till -> shop.checkout (l.1)
module renamed: KEPT" ]
