/**
 * Run once for a set of wheels, in a sandbox like any other code: it checks what is in /in and writes /out/packages.zip, from which
 * interpreters import. Modules are compiled, so that importing them takes a third of the time; those that are no Python of today stay
 * as they are, and fail when they are imported. The result names each wheel that was found, `[name, version]`, and each that was refused,
 * `[file, why]`; none is used where one is refused.
 */
export const wheelsProgram = String.raw`
import email, os, re, zipfile
from importlib._bootstrap_external import _code_to_hash_pyc

MOST_FILES, MOST_BYTES = 20_000, 256 << 20
NATIVE = re.compile(r"\.(so(\.\d+)*|pyd|dll|dylib|a|o|exe|wasm)$", re.IGNORECASE)
LINK = 0o120000
left = [MOST_FILES, MOST_BYTES]
seen = {}


class Refused(Exception):
    pass


def check(entry):
    path = entry.filename
    if re.search(r"[\x00-\x1f\x7f\\:]", path) or any(part in ("", ".", "..") for part in path.rstrip("/").split("/")):
        raise Refused(f"it holds the path {path!r:.200}")
    if entry.external_attr >> 16 & 0o170000 == LINK:
        raise Refused(f"it holds the link {path!r:.200}")
    if NATIVE.search(path):
        raise Refused(f"it holds native code, {path!r:.200}")
    if entry.flag_bits & 1:
        raise Refused("it is encrypted")


def demand_room(entries):
    global left
    room = [left[0] - len(entries), left[1] - sum(entry.file_size for entry in entries)]
    if min(room) < 0:
        raise Refused(f"with it the wheels unpack to more than {MOST_FILES} files or {MOST_BYTES} bytes")
    left = room


def about(wheel, folder, file):
    try:
        return email.message_from_bytes(wheel.read(f"{folder}/{file}"))
    except KeyError:
        raise Refused(f"it has no {file}") from None


def target(path):
    """Where a file of a wheel belongs among the modules; None: nowhere."""
    top, _, rest = path.partition("/")
    if not top.endswith(".data"):
        return path
    scheme, _, rest = rest.partition("/")
    if scheme == "platlib":
        raise Refused("it holds files for one platform")
    return rest if scheme == "purelib" and rest else None


def compiled(path, data):
    try:
        code = compile(data, f"/lib/packages.zip/{path}", "exec", dont_inherit=True, optimize=0)
        return path + "c", _code_to_hash_pyc(code, bytes(8), False)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return path, data


def add(packages, file):
    with zipfile.ZipFile(f"/in/{file}") as wheel:
        for entry in wheel.infolist():
            check(entry)
        demand_room(wheel.infolist())
        infos = {top for top in (name.split("/")[0] for name in wheel.namelist()) if top.endswith(".dist-info")}
        if len(infos) != 1:
            raise Refused(f"it holds {len(infos)} folders .dist-info and not one")
        [info] = infos
        built, metadata = about(wheel, info, "WHEEL"), about(wheel, info, "METADATA")
        if not built.get("Wheel-Version", "").strip().startswith("1."):
            raise Refused(f"it says that it is a wheel of version {str(built.get('Wheel-Version'))!r:.50}, and only 1 is known here")
        tags = [tag.strip() for tag in built.get_all("Tag", [])]
        if built.get("Root-Is-Purelib", "").strip().lower() != "true":
            raise Refused("it says that it is made for one platform")
        if not tags or not all(re.fullmatch(r"[\w.]+-none-any", tag) for tag in tags):
            raise Refused(f"it is made for {', '.join(tags)!r:.200}, and only py3-none-any runs here")
        for entry in wheel.infolist():
            path = None if entry.is_dir() else target(entry.filename)
            if path is None:
                continue
            data = wheel.read(entry)
            if path.endswith(".py"):
                path, data = compiled(path, data)
            if path in seen:
                raise Refused(f"{seen[path]} holds {entry.filename!r:.200} too")
            seen[path] = file
            folders = path.split("/")[:-1]
            for depth in range(len(folders)):
                folder = "/".join(folders[: depth + 1]) + "/"
                if folder not in seen:
                    seen[folder] = file
                    packages.writestr(folder, b"")
            packages.writestr(path, data, zipfile.ZIP_DEFLATED)
    return [str(metadata["Name"])[:100], str(metadata["Version"])[:100]]


def main():
    found, refused = [], []
    with zipfile.ZipFile("/out/packages.zip", "w") as packages:
        for file in sorted(os.listdir("/in")):
            try:
                found.append(add(packages, file))
            except Refused as why:
                refused.append([file, str(why)])
            except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as why:
                refused.append([file, f"it can't be read: {str(why)[:200]}"])
    return {"found": found, "refused": refused}


main()
`;
