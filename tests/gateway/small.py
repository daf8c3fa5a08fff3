"""Small contracts compiled for one test, with everything the real ones stand on."""

from __future__ import annotations

import tempfile
from importlib import resources
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc


def image(**files: str) -> bytes:
    """A descriptor set like that of the distribution, of these proto files and their imports.

    The real set lends what is not text in any wheel: buf/validate and tradewind/type.
    """
    import google.api

    commons = Path(next(iter(google.api.__path__))).parents[1]
    ours = resources.files("tradewind") / "descriptors.binpb"
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for name, text in files.items():
            path = Path(folder) / "tradewind" / name / "v1" / f"{name}.proto"
            path.parent.mkdir(parents=True)
            path.write_text(text)
            names.append(str(path.relative_to(folder)))
        lent = Path(folder) / "lent.binpb"
        lent.write_bytes(_lent(ours.read_bytes()))
        out = Path(folder) / "out.binpb"
        code = protoc.main([
            "protoc", f"-I{folder}", f"-I{commons}", f"-I{Path(protoc.__file__).parent / '_proto'}",
            f"--descriptor_set_in={lent}", f"--descriptor_set_out={out}",
            "--include_imports", "--include_source_info", *names,
        ])  # fmt: skip
        assert code == 0, "the test's own proto does not compile"
        return out.read_bytes()


def _lent(everything: bytes) -> bytes:
    kept = descriptor_pb2.FileDescriptorSet()
    for file in descriptor_pb2.FileDescriptorSet.FromString(everything).file:
        if not file.name.startswith("tradewind/") or file.name.startswith("tradewind/type/"):
            kept.file.append(file)
    return kept.SerializeToString()
