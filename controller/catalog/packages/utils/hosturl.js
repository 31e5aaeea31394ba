// Builds a URL of this platform from what the environment says of it.
const extensions = ['.html', '.http', '.json', '.svg', '.text'];

function main({ web, ext = '', trigger, path }) {
  const api = `${process.env.__OW_API_HOST}/api/v1`;
  const namespace = process.env.__OW_NAMESPACE;
  if (web === true && trigger) {
    return { error: 'triggers are not allowed for web actions.' };
  }
  if (web === true && ext && !extensions.includes(ext)) {
    return { error: 'extension for web action must be one of [".html", ".http", ".json", ".svg", ".text"].' };
  }
  if (trigger && path && path.includes('/')) {
    return { error: 'triggers are not allowed in packages.' };
  }
  if (web === true) {
    const base = `${api}/web/${namespace}`;
    return { url: path ? `${base}/${path.includes('/') ? path : `default/${path}`}${ext}` : base };
  }
  const base = `${api}/namespaces/${namespace}/${trigger === true ? 'triggers' : 'actions'}`;
  return { url: path ? `${base}/${path}` : base };
}
