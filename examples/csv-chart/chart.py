import csv, struct, zlib
from collections import Counter

with open("/in/sales.csv", newline="") as file:
    rows = list(csv.DictReader(file))
months = Counter()
for row in rows:
    months[row["month"]] += int(row["amount"])
most = max(months.values())

# A bar for each month: once as text that scales, once as pixels that a model sees.
WIDTH, HEIGHT, BAR = 40 * len(months), 160, 40
bars = [(index * BAR, round(amount / most * (HEIGHT - 20))) for index, amount in enumerate(months.values())]
with open("chart.svg", "w") as file:
    file.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">\n')
    for (x, height), (month, amount) in zip(bars, months.items()):
        file.write(f'<rect x="{x + 4}" y="{HEIGHT - height}" width="{BAR - 8}" height="{height}"><title>{month}: {amount}</title></rect>\n')
    file.write("</svg>\n")

pixels = bytearray()
for y in range(HEIGHT):
    pixels.append(0)
    for x in range(WIDTH):
        height = bars[x // BAR][1]
        pixels.append(0 if HEIGHT - y <= height and 4 <= x % BAR < BAR - 4 else 255)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


with open("chart.png", "wb") as file:
    file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)))
    file.write(chunk(b"IDAT", zlib.compress(bytes(pixels))) + chunk(b"IEND", b""))

{"rows": len(rows), "total": sum(months.values()), "best": max(months, key=months.get)}
