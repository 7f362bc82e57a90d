/** Shell completion: the shells ask this program, so every command and option completes as soon as it exists. */
import path from 'node:path';
import type { Command, Option } from 'commander';
import { projectDir } from '../../infra/layout.ts';
import { ClientError } from '../errors.ts';
import type { NameKind } from './completion-names.ts';
import { ExitCode, printJson, type CommonOptions } from './output.ts';

export interface Candidates {
  words: string[];
  /** What the shell itself knows best. */
  places: 'files' | 'folders' | null;
}

/** What an argument of this name is completed with. */
const kinds: Record<string, NameKind | 'files' | 'folders'> = {
  run: 'runs',
  other: 'runs',
  model: 'models',
  dataset: 'datasets',
  endpoint: 'endpoints',
  file: 'files',
  folder: 'folders',
  path: 'files',
};

/** The candidates for the last of the words, which may be empty; the others are done. */
export async function candidatesFor(
  program: Command,
  words: readonly string[],
  namesOf: (kind: NameKind) => Promise<string[]>,
): Promise<Candidates> {
  const current = words.at(-1) ?? '';
  let command = program;
  let position = 0;
  let awaiting: Option | null = null;
  let onlyArguments = false;
  for (const word of words.slice(0, -1)) {
    if (awaiting !== null) awaiting = null;
    else if (word === '--') onlyArguments = true;
    else if (word.startsWith('-') && !onlyArguments) {
      const option = optionsOf(command).find(({ short, long }) => [short, long].includes(word));
      awaiting = option?.required === true ? option : null;
    } else {
      const child =
        position === 0 ? childrenOf(command).find((one) => one.name() === word) : undefined;
      if (child === undefined) position += 1;
      else command = child;
    }
  }
  const starting = (found: string[]): Candidates => ({
    words: found.filter((word) => word.startsWith(current)),
    places: null,
  });
  const none: Candidates = { words: [], places: null };

  if (awaiting !== null) {
    if (awaiting.argChoices !== undefined) return starting(awaiting.argChoices);
    // The other values are the user's to invent.
    const kind = /[<[](file|folder)[>\]]/.exec(awaiting.flags)?.[1];
    return kind === undefined ? none : { words: [], places: kind === 'file' ? 'files' : 'folders' };
  }
  if (current.startsWith('-') && !onlyArguments) {
    return starting(optionsOf(command).flatMap(({ short, long }) => [long, short].filter(isText)));
  }
  const children = childrenOf(command);
  const own = command.registeredArguments.length > 0;
  if (children.length > 0 && !own) return starting(children.map((child) => child.name()));
  const argument =
    command.registeredArguments[position] ??
    command.registeredArguments.findLast(({ variadic }) => variadic);
  if (argument === undefined) return none;
  if (argument.argChoices !== undefined) return starting(argument.argChoices);
  const kind = kinds[argument.name()];
  if (kind === undefined) return none;
  if (kind === 'files' || kind === 'folders') return { words: [], places: kind };
  // One that has an argument of its own and commands below it, as budget has.
  const below = position === 0 ? children.map((child) => child.name()) : [];
  return starting([...below, ...(await namesOf(kind))]);
}

function childrenOf(command: Command): Command[] {
  return command.createHelp().visibleCommands(command);
}

function optionsOf(command: Command): Option[] {
  return command.createHelp().visibleOptions(command);
}

function isText(value: string | undefined): value is string {
  return value !== undefined;
}

/** `temper completion <shell>`: the script that a shell's start-up file reads. */
export function completionCommand(shell: string, options: CommonOptions): number {
  const script = scripts[shell];
  if (script === undefined) {
    const known = Object.keys(scripts).join(', ');
    throw new ClientError('input', `completion: found "${shell}", expected ${known}.`);
  }
  const text = script(path.join(projectDir, 'bin/temper'));
  if (options.json === true) printJson({ shell, script: text });
  else process.stdout.write(text);
  return ExitCode.ok;
}

/** The hidden command that the scripts call: a candidate a line, and `:files` or `:folders` for places. */
export async function completeCommand(program: Command, words: readonly string[]): Promise<number> {
  const { quickNames } = await import('./completion-names.ts');
  const found = await candidatesFor(program, words, quickNames);
  const lines = [...found.words, ...(found.places === null ? [] : [`:${found.places}`])];
  if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
  return ExitCode.ok;
}

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

const scripts: Record<string, (program: string) => string> = {
  bash: (program) => `# temper: completion for bash, of \`temper\` and of \`npx temper\`.
#   npx temper completion bash >> ~/.bashrc
_temper_ask() {
  local current=\${COMP_WORDS[COMP_CWORD]} line
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :files) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
      :folders) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
      *) COMPREPLY+=("$line") ;;
    esac
  done < <(${quoted(program)} __complete -- "\${COMP_WORDS[@]:$1:COMP_CWORD-$1+1}" 2>/dev/null)
}
_temper() { _temper_ask 1; }
_temper_npx() {
  COMPREPLY=()
  if [ "\${COMP_WORDS[1]}" = temper ] && [ "$COMP_CWORD" -gt 1 ]; then _temper_ask 2; fi
}
complete -F _temper temper
complete -o default -F _temper_npx npx
`,
  zsh: (program) => `# temper: completion for zsh, of \`temper\` and of \`npx temper\`.
#   npx temper completion zsh >> ~/.zshrc      (after compinit)
_temper_ask() {
  local line
  for line in "\${(@f)$(${quoted(program)} __complete -- "\${(@)words[$1,CURRENT]}" 2>/dev/null)}"; do
    case $line in
      :files) _files ;;
      :folders) _files -/ ;;
      ?*) compadd -- "$line" ;;
    esac
  done
}
_temper() { _temper_ask 2 }
_temper_npx() {
  if [[ $words[2] == temper ]] && (( CURRENT > 2 )); then _temper_ask 3; else _files; fi
}
compdef _temper temper
compdef _temper_npx npx
`,
  fish: (program) => `# temper: completion for fish, of \`temper\` and of \`npx temper\`.
#   npx temper completion fish > ~/.config/fish/completions/temper.fish; and cp ~/.config/fish/completions/temper.fish ~/.config/fish/completions/npx.fish
function __temper_ask
    set -l done (commandline -opc)
    set -l current (commandline -ct)
    for line in (${quoted(program)} __complete -- $done[$argv[1]..-1] $current 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path $current
            case :folders
                __fish_complete_directories $current ''
            case '*'
                echo $line
        end
    end
end
complete -c temper -f -a '(__temper_ask 2)'
complete -c npx -n 'set -l done (commandline -opc); test (count $done) -ge 2; and test "$done[2]" = temper' -f -a '(__temper_ask 3)'
`,
};
