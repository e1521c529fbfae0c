"""Folder of WordNet's files with a few nouns, in the format of its database (wndb)."""

# Noun and number of its sense, with the synset above it.
SYNSETS = {
    ("entity", 1): None,
    ("abstraction", 1): ("entity", 1),
    ("physical_entity", 1): ("entity", 1),
    ("game", 1): ("abstraction", 1),
    ("game", 2): ("abstraction", 1),
    ("array", 1): ("abstraction", 1),
    ("table", 1): ("array", 1),
    ("artifact", 1): ("physical_entity", 1),
    ("table", 2): ("artifact", 1),
    ("organism", 1): ("physical_entity", 1),
    ("person", 1): ("organism", 1),
    ("man", 1): ("person", 1),
    ("woman", 1): ("person", 1),
    ("animal", 1): ("organism", 1),
    ("dog", 1): ("animal", 1),
    ("cat", 1): ("animal", 1),
    ("game", 3): ("animal", 1),
}


def write_small_wordnet(folder):
    """Write the files, without lexnames, which Debian's package lacks too."""
    folder.mkdir()
    for part in ("adj", "adv", "noun", "verb"):
        for name in (f"index.{part}", f"data.{part}", f"{part}.exc"):
            (folder / name).write_text("")
    (folder / "cntlist.rev").write_text("")

    def line(synset, offsets):
        above = SYNSETS[synset]
        pointers = "000" if above is None else f"001 @ {offsets.get(above, 0):08d} n 0000"
        return f"{offsets.get(synset, 0):08d} 03 n 01 {synset[0]} 0 {pointers} | a {synset[0]}  \n"

    offsets, position = {}, 0
    for synset in SYNSETS:  # the lengths of the lines do not depend on the offsets, which have eight digits
        offsets[synset] = position
        position += len(line(synset, {}))
    (folder / "data.noun").write_text("".join(line(synset, offsets) for synset in SYNSETS))
    senses = {}
    for noun, number in sorted(SYNSETS):
        senses.setdefault(noun, []).append(f"{offsets[noun, number]:08d}")
    index = [f"{noun} n {len(all_)} 1 @ {len(all_)} 0 {' '.join(all_)}  \n" for noun, all_ in senses.items()]
    (folder / "index.noun").write_text("".join(index))
    return folder
