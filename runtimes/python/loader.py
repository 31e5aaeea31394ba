# SPDX-License-Identifier: Apache-2.0
"""Finding the user's function in what /init sent."""

import base64
import glob
import importlib.util
import io
import os
import site
import sys
import zipfile


class NotLoaded(Exception):
    """The action cannot be loaded, and its text says why."""


def load(code, main, binary, directory):
    """Returns the function that /init describes. The code goes into directory,
    which becomes the working directory and the first place for imports."""
    os.makedirs(directory, exist_ok=True)
    directory = os.path.realpath(directory)
    file = os.path.join(directory, "__main__.py")
    if binary:
        unpack(code, directory)
    else:
        with open(file, "w", encoding="utf-8", errors="surrogatepass") as source:
            source.write(code)
    os.chdir(directory)
    sys.path.insert(0, directory)
    activate_virtualenv(os.path.join(directory, "virtualenv"))
    if not os.path.isfile(file):
        raise NotLoaded("Zip file does not include __main__.py")
    return find(main, import_file(file))


def unpack(code, directory):
    """Writes an archive's files into directory, in which zipfile keeps them."""
    try:
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(code))) as archive:
            for entry in archive.infolist():
                if entry.filename.startswith("/") or ".." in entry.filename.split("/"):
                    raise NotLoaded("The archive's entry %r leads out of it." % entry.filename)
                path = archive.extract(entry, directory)
                mode = entry.external_attr >> 16 & 0o777
                if mode and not entry.is_dir():
                    os.chmod(path, mode | 0o600)
    except NotLoaded:
        raise
    except Exception as error:
        raise NotLoaded("There was an error uncompressing the action archive: %s" % error) from error


def activate_virtualenv(directory):
    """Makes an archive's own virtualenv importable: by its activation script,
    as OpenWhisk does, or, where tools no longer write one, by its packages."""
    if not os.path.isdir(directory):
        return
    for script in ("bin/activate_this.py", "Scripts/activate_this.py"):
        script = os.path.join(directory, script)
        if os.path.isfile(script):
            with open(script, encoding="utf-8") as source:
                exec(compile(source.read(), script, "exec"), {"__file__": script, "__name__": "activate_this"})
            return
    packages = glob.glob(os.path.join(directory, "lib", "python3*", "site-packages"))
    if not packages:
        raise NotLoaded("Invalid virtualenv. Zip file does not include 'activate_this.py'.")
    for path in packages:
        known = len(sys.path)
        site.addsitedir(path)
        # The archive's packages go before those of the runtime.
        sys.path[1:] = sys.path[known:] + sys.path[1:known]


def import_file(file):
    """Imports the action's file under the name that OpenWhisk gives it, so that
    what stands under "if __name__ == '__main__'" does not run."""
    spec = importlib.util.spec_from_file_location("main__", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["main__"] = module
    spec.loader.exec_module(module)
    return module


def find(main, module):
    function = getattr(module, main, None)
    if not callable(function):
        raise NotLoaded("Action entrypoint '%s' is not a function." % main)
    return function
