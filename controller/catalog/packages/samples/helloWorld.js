// Writes a line, and answers nothing.
function main({ payload }) {
  console.log('hello', `${payload}!`);
}
