"""Makes the manual pages and the shell completion out of what the programs' --help says, so that they cannot differ.

    /usr/bin/python3 -B tools/man/manpages.py --bin build/bin --out DIR

writes DIR/man/man1/nacre.1, nacre-VERB.1, lfs.1, lfs-COMMAND.1, DIR/man/man8/nacred.8, nacre-fuse.8, mount.nacre.8,
DIR/man/man5/nacred.yaml.5 (out of docs/configuration.md) and DIR/bash-completion/completions/{nacre,lfs}.

The shape of a help text: "usage:" and its indented lines; paragraphs at the margin; indented lines "TERM  what it is" with
deeper indented continuations. Other indented lines are shown as they are.
"""

import argparse
import dataclasses
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DAEMONS = {
    "nacred": "server of a Nacre file system: MGS, MDTs and OSTs",
    "nacre-fuse": "one mount of a Nacre file system",
    "mount.nacre": "helper of mount(8) for Nacre file systems",
}
SEE = {
    "nacre": ["lfs(1)", "nacred(8)", "mount.nacre(8)"],
    "lfs": ["nacre(1)", "mount.nacre(8)"],
    "nacred": ["nacre(1)", "nacred.yaml(5)"],
    "nacre-fuse": ["mount.nacre(8)", "nacre-top(1)", "nacre-trace(1)"],
    "mount.nacre": ["nacre-fuse(8)", "nacre-umount(1)", "mount(8)", "fstab(5)"],
}
OPTION = re.compile(r"(?<![\w/.-])--?[a-zA-Z][\w-]*")


@dataclasses.dataclass
class Page:
    name: str  # "nacre-top"
    section: int
    brief: str
    help: str
    see: list

    @property
    def file(self):
        return os.path.join("man", "man%d" % self.section, "%s.%d" % (self.name, self.section))


def help_of(bin_dir, *words):
    run = subprocess.run([os.path.join(bin_dir, words[0]), *words[1:]], capture_output=True, text=True, check=False,
                         stdin=subprocess.DEVNULL, timeout=30, env=dict(os.environ, LC_ALL="C"))
    if run.returncode != 0 or not run.stdout.startswith("usage:"):
        raise SystemExit("manpages: %s does not print its usage" % " ".join(words))
    return run.stdout


def table_of(text):
    """(name, brief) of each command an overview lists."""
    return re.findall(r"^  ([a-z][\w-]*) +(\S.*)$", text, re.M)


def pages(bin_dir):
    """All pages but nacred.yaml(5)."""
    found = []
    for program in ("nacre", "lfs"):
        overview = help_of(bin_dir, program, "--help")
        brief = {"nacre": "start, stop, watch and administer Nacre file systems",
                 "lfs": "layouts and space of Nacre file systems"}[program]
        commands = table_of(overview)
        found.append(Page(program, 1, brief, overview, ["%s-%s(1)" % (program, c) for c, _ in commands] + SEE[program]))
        for command, what in commands:
            found.append(Page("%s-%s" % (program, command), 1, what, help_of(bin_dir, program, command, "--help"),
                              [program + "(1)"]))
    for program, brief in DAEMONS.items():
        found.append(Page(program, 8, brief, help_of(bin_dir, program, "--help"), SEE[program]))
    return found


# ---- help to roff ----

def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return "\\&" + text if text.startswith((".", "\\(aq")) else text


def blocks(text):
    """("usage", lines), ("text", paragraph), ("item", term, what), ("verbatim", line)"""
    found = []
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip())
        last = found[-1] if found else ("", "")
        item = re.match(r"^ +(\S.*?) {2,}(\S.*)$", line)
        if line.startswith("usage:"):
            found.append(("usage", [line[6:].strip()]))
        elif not line.strip():
            found.append(("end", ""))
        elif last[0] == "usage" and indent >= 7:
            again = line.strip().startswith((last[1][0].split()[0], "mount"))
            if again:
                last[1].append(line.strip())
            else:
                last[1][-1] += " " + line.strip()
        elif indent == 0:
            if last[0] == "text":
                found[-1] = ("text", last[1] + " " + line)
            else:
                found.append(("text", line))
        elif last[0] == "item" and indent > 8 and not line.strip().startswith("-"):
            found[-1] = ("item", last[1], last[2] + " " + line.strip())
        elif item and not re.search(r" {2,}-", line.strip()):
            found.append(("item", item.group(1), item.group(2)))
        else:
            found.append(("verbatim", line.strip()))
    return found


def body(page):
    out, options = [".SH SYNOPSIS"], False
    parts = [b for b in blocks(page.help) if b[0] != "end"]
    for part in parts:
        if part[0] == "usage":
            for number, line in enumerate(part[1]):
                out += ([".br"] if number else []) + [roff(line)]
    out.append(".SH DESCRIPTION")
    if not any(part[0] == "text" for part in parts):
        out.append(roff(page.brief[0].upper() + page.brief[1:]) + ".")
    for part in parts:
        if part[0] == "text" and part[1] != "options":
            out += [".PP" if out[-1] != ".SH DESCRIPTION" else None, roff(part[1])]
        elif part[0] == "item":
            options = True
            out += [".TP", "\\fB%s\\fR" % roff(part[1]), roff(part[2])]
        elif part[0] == "verbatim":
            out += [".PP", ".nf", roff(part[1]), ".fi"]
    return [line for line in out if line is not None], options


def page_text(page):
    lines = ['.\\" Made by tools/man/manpages.py out of --help.',
             '.TH %s %d "" "Nacre" "Nacre"' % (roff(page.name.upper()), page.section), ".nh", ".ad l",
             ".SH NAME", "%s \\- %s" % (roff(page.name), roff(page.brief.rstrip(".")))]
    lines += body(page)[0]
    lines += [".SH SEE ALSO", ",\n".join("\\fB%s\\fR(%s" % (roff(s.split("(")[0]), s.split("(")[1]) for s in page.see)]
    return "\n".join(lines) + "\n"


def yaml_text():
    """nacred.yaml(5) out of the documentation of the configuration."""
    with open(os.path.join(ROOT, "docs", "configuration.md"), encoding="utf-8") as file:
        text = file.read()
    sample = re.search(r"```yaml\n(.*?)```", text, re.S).group(1).rstrip("\n")
    rows = re.findall(r"^\| `([\w.\[\]]+)` \| ([^|]+) \| ([^|]+) \|$", text, re.M)
    rest = text[text.rindex(rows[-1][2]):].split("\n", 1)[1]
    rest = re.sub(r"```\w*\n(.*?)```", lambda m: "\0" + m.group(1).strip(), rest, flags=re.S)
    lines = ['.\\" Made by tools/man/manpages.py out of docs/configuration.md.', '.TH NACRED.YAML 5 "" "Nacre" "Nacre"',
             ".nh", ".ad l",
             ".SH NAME", "nacred.yaml \\- configuration of nacred", ".SH DESCRIPTION",
             roff("The file that nacred --config FILE reads: YAML, taken strictly."), ".SH EXAMPLE", ".nf"]
    lines += [roff(line) for line in sample.split("\n")] + [".fi", ".SH KEYS"]
    plain = lambda words: roff(re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", words).replace("`", ""))
    for key, needed, what in rows:
        lines += [".TP", "\\fB%s\\fR (%s)" % (roff(key), plain("required" if needed == "yes" else
                                                            "optional" if needed == "no" else needed)), plain(what)]
    lines.append(".SH NOTES")
    for paragraph in [p for p in rest.split("\n\n") if p.strip()]:
        if paragraph.startswith("\0"):
            lines += [".PP", ".nf", plain(paragraph[1:]), ".fi"]
        else:
            lines += [".PP", plain(" ".join(paragraph.split()))]
    return "\n".join(lines + [".SH SEE ALSO", "\\fBnacred\\fR(8)"]) + "\n"


# ---- completion ----

def options_of(text):
    """Long and short options a text names."""
    return sorted(set(OPTION.findall(text)))


def completion_text(program, all_pages):
    commands = [p for p in all_pages if p.name.startswith(program + "-") and p.section == 1]
    lines = ["# Completion of %s for bash; made by tools/man/manpages.py out of --help." % program,
             "_%s_complete() {" % program, '\tlocal word=${COMP_WORDS[COMP_CWORD]} words=""',
             '\tif [ "$COMP_CWORD" -eq 1 ]; then',
             '\t\twords="%s --help --version"' % " ".join(p.name.split("-", 1)[1] for p in commands), "\telse",
             "\t\tcase ${COMP_WORDS[1]} in"]
    for page in commands:
        lines.append('\t\t%s) words="%s" ;;' % (page.name.split("-", 1)[1],
                                              " ".join(sorted(set(options_of(page.help)) | {"--help"}))))
    lines += ["\t\tesac", "\tfi", '\tif [[ $word == -* || $COMP_CWORD -eq 1 ]]; then',
              '\t\tmapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")', "\tfi", "}",
              "complete -o default -F _%s_complete %s" % (program, program)]
    return "\n".join(lines) + "\n"


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    print(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    all_pages = pages(args.bin)
    for page in all_pages:
        write(os.path.join(args.out, page.file), page_text(page))
    write(os.path.join(args.out, "man", "man5", "nacred.yaml.5"), yaml_text())
    for program in ("nacre", "lfs"):
        write(os.path.join(args.out, "bash-completion", "completions", program), completion_text(program, all_pages))


if __name__ == "__main__":
    main()
