// Takes a text apart, at the ends of its lines if nothing else is said.
function main({ payload, separator }) {
  if (payload === undefined || payload === null) {
    return { error: 'The parameter payload is missing.' };
  }
  return { lines: String(payload).split(separator || /\r?\n/), payload };
}
