"""Compiles proto/ into gen/: messages, type stubs and one descriptor set that keeps the comments.

Stands alone (the build hook loads it before anything is installed), so it imports nothing of ours.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
import tempfile
from importlib import metadata
from pathlib import Path

STAMP = "protos.sha256"
DESCRIPTORS = "tradewind/descriptors.binpb"


def fingerprint(root: Path) -> str:
    """What gen/ depends on: every proto, this compiler, and the versions of the tools it calls."""
    digest = hashlib.sha256()
    for tool in ("grpcio-tools", "mypy-protobuf", "protovalidate", "googleapis-common-protos"):
        digest.update(f"{tool}=={metadata.version(tool)}\n".encode())
    for path in (Path(__file__), *sorted((root / "proto").rglob("*.proto"))):
        digest.update(path.read_bytes() + b"\0" + path.name.encode())
    return digest.hexdigest()


def compile_all(root: Path) -> bool:
    """Bring gen/ up to date with proto/; say whether there was anything to do."""
    gen, wanted = root / "gen", fingerprint(root)
    stamp = gen / STAMP
    if stamp.exists() and stamp.read_text() == wanted:
        return False
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        fresh = Path(scratch) / "gen"
        fresh.mkdir()
        _protoc(root, fresh)
        (fresh / STAMP).write_text(wanted)
        # A process that starts meanwhile should find one or the other, not nothing.
        if gen.exists():
            gen.rename(Path(scratch) / "before")
        fresh.rename(gen)
    return True


def validate_rules() -> bytes:
    """buf/validate/validate.proto as a descriptor: no wheel ships its text, protovalidate ships its image."""
    from protovalidate._gen.buf.validate import validate_pb

    # The serialized file is the first argument the generated module gives to its loader.
    return bytes(validate_pb.desc().proto.to_binary())


def _protoc(root: Path, out: Path) -> None:
    import google.api
    from google.protobuf import descriptor_pb2
    from grpc_tools import protoc

    commons = Path(next(iter(google.api.__path__))).parents[1]
    wkt = Path(protoc.__file__).parent / "_proto"
    rules = descriptor_pb2.FileDescriptorSet()
    rules.file.add().ParseFromString(validate_rules())
    for known in ("descriptor", "duration", "field_mask", "timestamp"):
        module = __import__(f"google.protobuf.{known}_pb2", fromlist=["DESCRIPTOR"])
        module.DESCRIPTOR.CopyToProto(rules.file.add())
    with tempfile.NamedTemporaryFile(suffix=".binpb") as image:
        image.write(rules.SerializeToString())
        image.flush()
        ours = [str(p.relative_to(root / "proto")) for p in sorted((root / "proto").rglob("*.proto"))]
        arguments = [
            "protoc", f"-I{root / 'proto'}", f"-I{commons}", f"-I{wkt}",
            f"--descriptor_set_in={image.name}",
            f"--python_out={out}", f"--mypy_out=quiet:{out}",
            f"--plugin=protoc-gen-mypy={Path(sys.executable).parent / 'protoc-gen-mypy'}",
            *ours, "buf/validate/validate.proto",
        ]  # fmt: skip
        if protoc.main(arguments):
            raise SystemExit("proto/ does not compile; the lines above say where")
        (out / DESCRIPTORS).parent.mkdir(parents=True, exist_ok=True)
        arguments = [
            "protoc", f"-I{root / 'proto'}", f"-I{commons}", f"-I{wkt}", f"--descriptor_set_in={image.name}",
            f"--descriptor_set_out={out / DESCRIPTORS}", "--include_imports", "--include_source_info", *ours,
        ]  # fmt: skip
        if protoc.main(arguments):
            raise SystemExit("the descriptor set could not be written")


def release(root: Path, version: str) -> Path:
    """Keep the contract of a release, without comments: what later changes must not break."""
    from google.protobuf import descriptor_pb2

    compile_all(root)
    image = descriptor_pb2.FileDescriptorSet.FromString((root / "gen" / DESCRIPTORS).read_bytes())
    for file in image.file:
        file.ClearField("source_code_info")
    path = root / "proto" / "released" / f"v{version}.binpb.gz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(image.SerializeToString(deterministic=True), mtime=0))
    return path


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1]
    if sys.argv[1:2] == ["--release"]:
        print(release(here, sys.argv[2]).relative_to(here))
    else:
        print("compiled" if compile_all(here) else "up to date")
