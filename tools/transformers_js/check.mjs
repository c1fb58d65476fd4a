// Loads an exported ONNX folder in transformers.js and answers one prompt, as a page in a browser would.
//
//   npm install @huggingface/transformers
//   node tools/transformers_js/check.mjs FOLDER "turn off the kitchen lights" "SYSTEM PROMPT"
//
// Exit code 1 if it does not load or answers nothing.
import { basename, dirname, resolve } from 'node:path';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [folder, prompt, system] = process.argv.slice(2);
// From where the command is run, so that the package need not be installed beside this file.
const found = createRequire(resolve('package.json')).resolve('@huggingface/transformers');
const { pipeline, env } = await import(pathToFileURL(found));

env.allowRemoteModels = false;
env.localModelPath = dirname(resolve(folder)) + '/';
const generate = await pipeline('text-generation', basename(resolve(folder)));
const messages = [...(system ? [{ role: 'system', content: system }] : []), { role: 'user', content: prompt }];
const [{ generated_text: conversation }] = await generate(messages, { max_new_tokens: 96, do_sample: false });
const answer = conversation.at(-1).content;
console.log(answer);
process.exit(answer ? 0 : 1);
