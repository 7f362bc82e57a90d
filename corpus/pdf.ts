/** Whether a PDF shows pages of pictures without any font: then it is a scan, and only OCR could read it. */
import { inflateSync } from 'node:zlib';

const maxObjects = 200;
const maxUnpacked = 4 * 1024 * 1024;

/** False also where the file does not tell: damaged, or encrypted. */
export function looksScanned(pdf: Buffer): boolean {
  const text = pdf.toString('latin1');
  if (!text.startsWith('%PDF-') || /\/Encrypt\b/.test(text)) return false;
  const plain = [text, ...packedObjects(text, pdf)].join('\n');
  return /\/Subtype\s*\/Image\b/.test(plain) && !/\/(Font|BaseFont)\b/.test(plain);
}

/** Since PDF 1.5, objects may stand in compressed streams of the type ObjStm. */
function packedObjects(text: string, pdf: Buffer): string[] {
  const found: string[] = [];
  for (const match of text.matchAll(/\/Type\s*\/ObjStm\b[^]{0,400}?stream\r?\n/g)) {
    if (found.length >= maxObjects) break;
    const start = match.index + match[0].length;
    const end = text.indexOf('endstream', start);
    if (end < 0) break;
    try {
      const packed = pdf.subarray(start, end);
      found.push(inflateSync(packed, { maxOutputLength: maxUnpacked }).toString('latin1'));
    } catch {
      continue;
    }
  }
  return found;
}
