"""Parts that the completion script for bash has around shtab's: words broken at `:`, `=` and `@`, and attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildah_py.attest.options import KEYS as ATTESTATIONS
from buildah_py.outputs.spec import KEYS
from buildah_py.sharing.spec import keys

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPED: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "-o|--output": KEYS,
    "--attest": ATTESTATIONS,
    "--cache-to": keys("--cache-to"),
    "--cache-from": keys("--cache-from"),
    "--share": keys("--share"),
    "--mount": {"bind": ("src", "dst", "ro"), "tmpfs": ("dst", "tmpfs-size", "tmpfs-mode")},
}
"""Options whose values are attributes: of each type its keys."""
_PLAIN: Final = {"--secret": "id= src= env= type=file type=env"}

_SCRIPT: Final = r"""
# Complete the last attribute of an option's value, such as type=local,dest=DIR. $1=option $2=value; sets key
_pybuild_attributes() {
  local last="${2##*,}" words=""
  case "$1" in
@CASES@
    *) return 1 ;;
  esac
  case "$last" in
    dest=*|src=*|source=*|sign=*|cacert=*|cert=*|key=*)
      compopt -o filenames 2>/dev/null
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "${last#*=}")
      key="${last%%=*}="
      ;;
    *)
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -W "$words" -- "$last")
      if [[ "$2" != *[=,]* ]]; then  # a path stands alone
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$last")
      fi
      [[ "${COMPREPLY[0]-}" == *[=.] ]] && compopt -o nospace 2>/dev/null
      ;;
  esac
  return 0
}

# Put together the words that bash broke, and let shtab's function complete the last one.
_pybuild() {
  local IFS=$' \t\n' breaks="" one rest line="${COMP_LINE:0:COMP_POINT}" index broke=0 alone whole head="" key=""
  local -a words=() kept=()
  for one in = : @; do [[ "$COMP_WORDBREAKS" == *"$one"* ]] && breaks+="$one"; done
  for ((index = 0; index <= COMP_CWORD; index++)); do
    rest="${line#"${line%%[![:blank:]]*}"}"
    one="${COMP_WORDS[index]}"
    ((index == COMP_CWORD)) && one="$rest"
    alone=0
    [[ -n "$breaks" && -n "$one" && -z "${one//[$breaks]/}" ]] && alone=1
    if ((index && (alone || broke))) && [[ "$rest" == "$line" ]]; then
      words[${#words[@]} - 1]+="$one"
    else
      words+=("$one")
    fi
    broke=$alone
    line="${rest#"$one"}"
  done

  whole="${words[${#words[@]} - 1]}"
  for ((index = 0; index < ${#words[@]} - 1; index++)); do
    [[ "${words[index]}" == --*=* ]] || kept+=("${words[index]}")  # has its value, and says nothing of what follows
  done
  if [[ "$whole" == --*=* ]]; then
    head="${whole%%=*}="
    kept+=("${whole%%=*}")
  fi
  kept+=("${whole#"$head"}")
  COMP_WORDS=("${kept[@]}")
  COMP_CWORD=$((${#kept[@]} - 1))
  COMPREPLY=()
  if _pybuild_attributes "${kept[COMP_CWORD - 1]}" "${kept[COMP_CWORD]}"; then
    one="${kept[COMP_CWORD]}"
    head+="${one%"${one##*,}"}$key"
  else
    _shtab_pybuild
  fi

  if [[ -n "$head" && "$breaks" != *=* ]]; then  # bash takes the whole word for the path, and would quote its commas
    compopt +o filenames 2>/dev/null
    if [[ ${#COMPREPLY[@]} = 1 && -d "${COMPREPLY[0]}" ]]; then
      COMPREPLY[0]+=/
      compopt -o nospace 2>/dev/null
    fi
  fi

  # bash puts a reply where its own last word begins
  rest=""
  [[ -n "$breaks" ]] && rest="${whole%"${whole##*[$breaks]}"}"
  COMPREPLY=("${COMPREPLY[@]/#/$head}")
  COMPREPLY=("${COMPREPLY[@]#"$rest"}")
}

complete -o bashdefault -F _pybuild pybuild
"""


def around(script: str) -> str:
    """Return shtab's script for bash with the function that is asked in its place."""
    return script[: script.rindex("\ncomplete ")] + _SCRIPT.replace("@CASES@", "\n".join(_cases()))


def _cases() -> list[str]:
    found = []
    for option, kinds in _TYPED.items():
        types = " ".join(f"type={kind}" for kind in kinds)
        found += [f"    {option})", f'      words="{types}"', '      case "$2" in']
        for kind, known in kinds.items():
            words = (name for name in known if name != "type")
            offered = " ".join(name if name == "ro" or name.endswith(".") else f"{name}=" for name in words)
            found.append(f'        *type={kind},*) words="{offered}" ;;')
        found += ["      esac", "      ;;"]
    return [*found, *(f'    {option}) words="{words}" ;;' for option, words in _PLAIN.items())]
