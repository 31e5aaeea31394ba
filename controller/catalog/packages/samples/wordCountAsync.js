// Counts what is between blanks, and answers with a promise.
function main({ payload }) {
  return new Promise((resolve) => {
    setTimeout(() => {
      const text = String(payload);
      const count = text.split(' ').length;
      console.log(`The message '${text}' has`, count, 'words');
      resolve({ count });
    }, 100);
  });
}
