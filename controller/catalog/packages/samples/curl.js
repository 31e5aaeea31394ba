// Fetches what a URL leads to. It gives up after a few seconds.
async function main({ payload }) {
  if (typeof payload !== 'string' || payload === '') {
    return { error: 'The parameter payload must be a URL.' };
  }
  const url = /^https?:\/\//.test(payload) ? payload : `http://${payload}`;
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(5000) });
    const msg = await answer.text();
    console.log(msg);
    return { msg };
  } catch (failure) {
    const why = failure.cause?.message ?? failure.message;
    console.log(why);
    return { msg: why };
  }
}
