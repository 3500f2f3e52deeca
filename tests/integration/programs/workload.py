# SPDX-License-Identifier: MIT
"""A JSON workload for a traced python3: builds, prints, parses and drops documents."""
import hashlib
import json

digest = hashlib.sha256()
kept = []
for n in range(60):
    rows = [{"id": n * 1000 + i, "name": "name %d" % i, "tags": [str(i), str(n)], "x": i / 7}
            for i in range(400)]
    text = json.dumps(rows)
    back = json.loads(text)
    kept.append(back[n])
    digest.update(text.encode())
print(digest.hexdigest(), len(kept))
