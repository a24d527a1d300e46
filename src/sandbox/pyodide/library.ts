/**
 * What the interpreter runs first, as `sitecustomize` of its library. Booting loads 150 modules: taking the library's
 * directory as make.ts wrote it, reading them out of one block of memory and collecting no garbage in between saves an eighth of the time.
 * `finish` puts everything back.
 */
export const bootModule = String.raw`
import gc
import marshal
import zipimport

LIBRARY = "/lib/python314.zip"
read = zipimport._get_data
gc.disable()
directory = zipimport.zipimporter(LIBRARY).get_data("directory")
zipimport._zip_directory_cache[LIBRARY] = marshal.loads(directory)
with open(LIBRARY, "rb") as file:
    # The modules of the boot come first and are stored, the others are deflated.
    block = file.read(min(entry[4] for entry in zipimport._zip_directory_cache[LIBRARY].values() if entry and entry[1]))


def read_block(archive, entry):
    if archive != LIBRARY or entry[1]:
        return read(archive, entry)
    # A local header has 30 bytes, of which the last four tell how long the name and the extra field behind it are.
    start = entry[4] + 30
    start += int.from_bytes(block[start - 4 : start - 2], "little") + int.from_bytes(block[start - 2 : start], "little")
    return block[start : start + entry[2]]


def finish():
    global block
    zipimport._get_data = read
    block = None
    gc.enable()


zipimport._get_data = read_block
`;

/** In place of Pyodide's loader of packages, of which there are none: a dozen modules that only this one needs are not loaded. */
export const packagesModule = String.raw`
class Folder:
    def __init__(self, path):
        self.path = path

    def __str__(self):
        return self.path


SITE_PACKAGES = Folder("/lib/python3.14/site-packages")
DSO_DIR = Folder("/usr/lib")


def init_loaded_packages():
    pass


def unpack_buffer(*args, **more):
    raise RuntimeError("There are no packages to load in this sandbox.")
`;

/**
 * In place of the colours of traces, whose dozen data classes take a twentieth of the boot: the first use puts the module of the
 * standard library, which make.ts keeps under the name `_colorize_all`, into this one.
 */
export const coloursModule = String.raw`
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    del globals()["__getattr__"]
    exec(__loader__.get_code("_colorize_all"), globals())
    return globals()[name]
`;

/** Ends what `bootModule` began; the last lines of the module that Pyodide boots with. */
export const bootEnd = String.raw`
import sitecustomize

sitecustomize.finish()
del sys.modules["sitecustomize"], sitecustomize
`;
