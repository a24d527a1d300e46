/**
 * The part of the Python program (python.ts) that makes two libraries feel at home once the code imports them. numpy gets room for what
 * it reserves and hardly uses. Of matplotlib, figures that were drawn, left open and not saved come out as `figure-1.png` and so on, as a
 * notebook would show them.
 */
export const librariesModule = String.raw`
# OpenBLAS, under numpy, reserves 128 MiB for each thread that calculates, touches little of it, and where it gets none tries for ever.
# On a stack as small as ours (THREAD_STACK) it crashes.
RESERVED, STACK = 1 << 30, 8 << 20
SAVED = "_saved_by_code"


class Libraries:
    """The first of those who find modules."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        global reserved
        if name == "numpy" and not reserved:
            reserved = RESERVED
            limit_data(order["memoryBytes"])
            _thread.stack_size(STACK)
        if name != "matplotlib.figure":
            return None
        spec = find_module(name, path)
        if spec is not None:
            load = spec.loader.exec_module

            def exec_module(module):
                load(module)
                watch(module.Figure)

            spec.loader.exec_module = exec_module
        return spec


def watch(figure):
    from functools import wraps

    save = figure.savefig

    @wraps(save)
    def savefig(self, *args, **more):
        vars(self)[SAVED] = True
        return save(self, *args, **more)

    figure.savefig = savefig


def save_figures(most):
    """Saves open figures, and closes them, so that the next run of a session begins new ones. What came of it, where that is not well."""
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    if helpers is None:
        return None
    try:
        figures = [manager.canvas.figure for manager in helpers.Gcf.get_all_fig_managers()]
        number = 1
        for figure in [figure for figure in figures if SAVED not in vars(figure)][:most]:
            while os.path.lexists(path := f"{FOLDER}/figure-{number}.png"):
                number += 1
            figure.savefig(path)
            helpers.Gcf.destroy_fig(figure)
        OUT.flush()
    except BaseException as caught:
        return f"figures that were left open were not saved: {type(caught).__name__}"


find_module = sys.meta_path[-1].find_spec
sys.meta_path.insert(0, Libraries)


`;
