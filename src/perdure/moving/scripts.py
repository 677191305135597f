"""What is run on the other side: POSIX sh, with GNU's find, xargs and mv.

No script is ever put together: what differs comes as `$1` and so on, or on the input, as names that
begin with `./` and end with a NUL byte.
"""

from __future__ import annotations

from collections.abc import Collection

MISSING = 44

# $1 root, $2 folder below it, $3 word, $4 `make` or `look`. Answers fields that end with NUL: root,
# folder and staging as they are there, whether the folder exists and is a link, df, rsync.
LOOK = r"""
root=$1
case $root in
"~") root=$HOME ;;
"~/"*) root=$HOME/${root#"~/"} ;;
/*) ;;
*) root=$HOME/$root ;;
esac
if [ "$4" = make ]; then
  mkdir -p -- "$root/.perdure/moving" "$root/$2" || exit 1
  [ -e "$root/.perdure/.gitignore" ] || echo '*' >"$root/.perdure/.gitignore"
fi
root=$(cd -- "$root" 2>/dev/null && pwd -P || printf %s "$root")
found=no link=no folder=$root/$2
[ -L "$root/$2" ] && link=yes
if [ -d "$root/$2" ]; then found=yes folder=$(cd -- "$root/$2" && pwd -P) || exit 1; fi
staging=$root/.perdure/moving/$3
if [ "$found" = yes ] && [ -d "$root/.perdure" ] &&
  [ "$(stat -L -c %d -- "$root/.perdure")" != "$(stat -L -c %d -- "$folder")" ]; then
  staging=$folder/.perdure-moving
fi
near=$folder
while [ ! -d "$near" ]; do near=${near%/*}; [ -n "$near" ] || near=/; done
printf '%s\0' "$root" "$folder" "$staging" "$found" "$link" \
  "$(LC_ALL=C df -Pk -- "$near" 2>/dev/null)" "$(rsync --version 2>/dev/null)"
"""

# $1 folder, then what `find` is told to pass over.
LIST = r"""
if ! cd -- "$1" 2>/dev/null; then
  [ -e "$1" ] || exit 44
  echo "find: '.': Permission denied" >&2
  exit 1
fi
shift
LC_ALL=C exec find . -mindepth 1 "$@" -printf '%y %s %T@ %m %l\0%P\0'
"""

# $1 folder; names on the input.
DIGEST = r"""
cd -- "$1" && LC_ALL=C xargs -0 -r sha256sum -z --
"""

# $1 folder, $2 where to; names on the input: moved there with the folders they lie in.
DISPLACE = r"""
mkdir -p -- "$2" && cd -- "$1" && exec xargs -0 -r sh -c '
for name do
  mkdir -p -- "$0/${name%/*}" && mv -f -T -- "$name" "$0/$name" || exit 255
done' "$2"
"""

# $1 folder; names on the input: folders to be made.
MAKE = r"""
mkdir -p -- "$1" && cd -- "$1" && exec xargs -0 -r mkdir -p --
"""

# $1 folder; on the input a link's target and its name by turns.
LINK = r"""
mkdir -p -- "$1" && cd -- "$1" && exec xargs -0 -r -n 2 sh -c '
mkdir -p -- "${2%/*}" && ln -s -f -n -- "$1" "$2" || exit 255' sh
"""

# $1 staging, $2 folder: all of it is moved into place by renaming, a job's record at the very end.
PUBLISH = r"""
[ -d "$1" ] || exit 0
cd -- "$1" || exit 1
each='
for inner do
  [ -d "$0/$inner" ] || mkdir -p -- "$0/$inner" || exit 255
  find "$inner" -maxdepth 1 -mindepth 1 ! -type d ! -name job.json \
    -exec mv -f -t "$0/$inner" -- {} + || exit 255
done'
find . -type d -print0 | xargs -0 sh -c "$each" "$2" || exit 1
last='
for name do mv -f -T -- "$name" "$0/$name" || exit 255; done'
find . ! -type d -print0 | xargs -0 -r sh -c "$last" "$2" || exit 1
cd / && rm -rf -- "$1"
"""

# $1 staging.
FORGET = r"""
rm -rf -- "$1"
"""

# $1 folder; names on the input: deleted, folders with all that is in them.
DELETE = r"""
cd -- "$1" && exec xargs -0 -r rm -rf --
"""

# $1 the folder of run folders; names on the input. What runs is left, and named on the output.
DELETE_JOBS = r"""
cd -- "$1" && exec xargs -0 -r sh -c '
for job do
  trash=./.trash-${job#./}
  if [ -e "$job/supervisor.lock" ]; then
    flock -n "$job/supervisor.lock" mv -T -- "$job" "$trash" || { printf "%s\0" "$job"; continue; }
  else
    mv -T -- "$job" "$trash" || exit 255
  fi
  chmod -R u+rwX -- "$trash" 2>/dev/null
  rm -rf -- "$trash" || exit 255
done' sh
"""

# $1 staging; a list of names on the input is kept beside it for `tar`.
KEEP_LIST = r"""
mkdir -p -- "${1%/*}" && exec cat >"$1"
"""

# $1 folder, $2 a list of names: an archive of them.
PACK = r"""
cd -- "$1" && tar --format=pax --null -T "$2" --no-recursion -h -cf -
code=$?
rm -f -- "$2"
exit $code
"""

# $1 staging: an archive on the input is unpacked.
UNPACK = r"""
mkdir -p -- "$1" && cd -- "$1" && exec tar -x -o -p -f -
"""


def pruned(apart: Collection[str]) -> tuple[str, ...]:
    """Return the words that have `find` pass over names at the top of a folder."""
    if not apart:
        return ()
    words: list[str] = []
    for name in sorted(apart):
        words += ["-o", "-path", f"./{name}"]
    return ("(", *words[1:], ")", "-prune", "-o")
