"""Write the JavaScript package, with its WebAssembly modules, to a folder: python tools/wasm_package.py FOLDER"""

import sys
from pathlib import Path

from edgeq.compile import wasm

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name, content in wasm.package().items():
    (folder / name).write_bytes(content)
    print(f"{folder / name}  {len(content)} bytes")
