/** The base64 of a `data:` URL of a PNG; throws for any other. */
export function toImage(url: string): string {
  const [, data] = /^data:image\/png;base64,([\w+/=]+)$/.exec(url) ?? [];
  if (data === undefined) throw new Error(`no image: ${url.slice(0, 80)}`);
  return data;
}
