"""Names of made-up artists (decoys), which represent the artists that a method does not get by name.

No name shares a word with an artist of a testbed or with a misspelling that a suite uses. The list was written before
any setting was tuned on it. It must not change, because models depend on its first N names.
"""

DECOYS: tuple[str, ...] = (
    "Almut Hendricks", "Tomasz Wieland", "Ines Carvalho", "Oskar Lindqvist", "Beatriz Okafor", "Ruben Ashdown",
    "Clementine Dorsey", "Iveta Novotna", "Matteo Bellandi", "Sunniva Aasen", "Dragan Petkov", "Leonie Farnham",
    "Yusuf Karaman", "Birgit Holm", "Casper Nyberg", "Anouk Delacour", "Radu Ionescu", "Philippa Greaves",
    "Emeka Obiora", "Tilda Sorensen", "Hamish Corrie", "Noemi Szabo", "Arvid Eklund", "Lucinda Barrow",
    "Kenji Moriwaki", "Petra Vogelsang", "Duarte Salgado", "Freya Thornbury", "Milos Jankovic", "Odile Marchetti",
    "Stellan Bergqvist", "Ayumi Tachibana", "Rhys Penhallow", "Greta Ziegler", "Bartosz Kowal", "Imogen Lacey",
    "Nadia Haddad", "Fergus Dunmore", "Amparo Quintero", "Lars Overgaard", "Sidonie Perrault", "Goran Maric",
    "Winifred Castle", "Eino Rantanen", "Marisol Vega", "Thaddeus Crane", "Ilse Baumgarten", "Rafael Montrose",
    "Kirsten Dahl", "Anselm Roth", "Zofia Malik", "Hugo Castellane", "Delphine Orsay", "Viktor Szekely",
    "Maeve Kilbride", "Teodor Banica", "Charlotte Wren", "Kwame Asante", "Ludmila Horak", "Basil Trent",
    "Eleni Kostas", "Gideon Marlowe", "Solveig Strand", "Quentin Ferrars",
)  # fmt: skip
