"""SMILES: the symbols of a text, and a check of its grammar, ring closures, valences and aromatic bonds that needs no chemistry library.

What a molecule is worth is not its matter; stereochemistry is read over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_SYMBOL = re.compile(r"\[[^\[\]]*\]|Br|Cl|%\d\d|.", re.DOTALL | re.ASCII)

_ELEMENTS = frozenset(
    (
        "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd "
        "Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac "
        "Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
    ).split()
)
_ORGANIC = frozenset(["B", "C", "N", "O", "P", "S", "F", "Cl", "Br", "I"])
_AROMATIC = frozenset(["b", "c", "n", "o", "p", "s"])
_IN_BRACKETS = _AROMATIC | {"se", "as", "te", "si"}
_BRACKET = re.compile(
    r"\[(?P<isotope>\d+)?(?P<element>[A-Z][a-z]?|se|as|te|si|[bcnops]|\*)"
    r"(?P<chirality>@(?:@|TH[12]?|AL[12]?|SP[1-3]?|TB(?:20|1\d|[1-9])?|OH(?:30|[12]\d|[1-9])?)?)?"
    r"(?P<hydrogens>H\d?)?(?P<charge>\+{1,4}|-{1,4}|[+-]\d{1,2})?(?::\d+)?\]",
    re.ASCII,
)
_ORDERS = {"-": 1.0, "=": 2.0, "#": 3.0, "$": 4.0, ":": 1.5, "/": 1.0, "\\": 1.0}

_GROUP = {"B": 3, "C": 4, "Si": 4, "N": 5, "P": 5, "As": 5, "O": 6, "S": 6, "Se": 6, "Te": 6, "F": 7, "Cl": 7, "Br": 7, "I": 7}
_HEAVY = frozenset(["Si", "P", "S", "As", "Se", "Te", "I"])  # these may stretch their shell
_STRETCHED = {5: 5, 6: 6, 7: 5, 8: 6}  # their bonds, by outer electrons


def symbols(text: str) -> list[str]:
    """The symbols of a SMILES: atoms (in brackets or not), bonds, brackets of branches, ring numbers. End to end they are the text.

    Example:
        >>> symbols("C[C@H](Cl)c1nBr")
        ['C', '[C@H]', '(', 'Cl', ')', 'c', '1', 'n', 'Br']
    """
    return _SYMBOL.findall(text)


def fault(text: str) -> str | None:
    """What is wrong with a SMILES, in words; None if nothing was found.

    Checked are the grammar of atoms, bonds and branches, that ring closures come in pairs, that no atom has more bonds than its
    element (moved by its charge) can have, and that double bonds can be shared out among the aromatic atoms. Forms without charges that
    are often written are taken for what they stand for: CN(=O)=O, C=N#N, O=n1ccccc1, and the oxo acids of Cl, Br and I.

    Not checked are the bonds of ``*`` and of elements other than H, B, C, N, O, Si, P, S, As, Se, Te and the halogens. Stricter than RDKit
    it is on ring bonds told differently at their ends (C=1CCC-1), numbers of rings with three digits, and aromatic rings with ``*``, or
    with S or Se that has three neighbours.

    Reference: OpenSMILES specification, http://opensmiles.org/opensmiles.html

    Example:
        >>> fault("CC(=O)Oc1ccccc1C(=O)O")
        >>> fault("CC(=O"), fault("C1CC"), fault("C=F=C"), fault("c1cccc1")
        ('a branch is left open', 'ring 1 is left open', 'F has 4 bonds; at most 1', 'the aromatic bonds cannot be made single and double')
    """
    try:
        molecule = _read(text)
        _part_charges(molecule)
        _bonds_fit(molecule)
        _aromatic_fit(molecule)
    except _Fault as found:
        return str(found)
    return None


class _Fault(Exception):
    """What is wrong, in words."""


@dataclass
class _Atom:
    element: str
    aromatic: bool = False
    hydrogens: int | None = None  # None: as many as fit
    charge: int = 0
    bonds: dict[int, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.element.lower() if self.aromatic else self.element


def _atom(symbol: str) -> _Atom | None:
    """The atom of a symbol; None for a symbol that is no atom."""
    if symbol in _ORGANIC or symbol == "*":
        return _Atom(symbol)
    if symbol in _AROMATIC:
        return _Atom(symbol.upper(), aromatic=True)
    if not symbol.startswith("["):
        return None
    match = _BRACKET.fullmatch(symbol)
    if match is None:
        raise _Fault(f"{symbol} is no atom")
    element, written, charge = match["element"], match["hydrogens"], match["charge"] or ""
    if element not in _ELEMENTS and element not in _IN_BRACKETS and element != "*":
        raise _Fault(f"{element} is no element")
    size = int(charge[1:]) if charge[1:].isdigit() else len(charge)
    hydrogens = 0 if written is None else int(written[1:] or 1)
    return _Atom(element.capitalize(), element in _IN_BRACKETS, hydrogens, -size if charge.startswith("-") else size)


def _read(text: str) -> list[_Atom]:
    """The atoms with their bonds."""
    if not text:
        raise _Fault("the text is empty")
    reader = _Reader()
    for symbol in symbols(text):
        reader.take(symbol)
    return reader.ended()


class _Reader:
    """Reads symbols one after the other."""

    def __init__(self) -> None:
        self.atoms: list[_Atom] = []
        self.last: int | None = None  # the atom that the next one is bound to
        self.bond: str | None = None
        self.open: list[int] = []  # atoms at which branches began
        self.rings: dict[int, tuple[int, str | None]] = {}
        self.before = "start"  # start, atom, ring, bond, dot, open or close

    def take(self, symbol: str) -> None:
        atom = _atom(symbol)
        if atom is not None:
            self._add(atom)
        elif symbol in _ORDERS:
            if self.before in ("start", "bond", "dot"):
                raise _Fault(f"the bond {symbol} follows no atom")
            self.bond, self.before = symbol, "bond"
        elif (symbol.isascii() and symbol.isdigit()) or (symbol.startswith("%") and len(symbol) == 3):
            self._ring(int(symbol.lstrip("%")))
        elif symbol == "(":
            if self.last is None or self.before not in ("atom", "ring", "close"):
                raise _Fault("a branch follows no atom")
            self.open.append(self.last)
            self.before = "open"
        elif symbol == ")":
            if not self.open:
                raise _Fault("a branch is closed that was never opened")
            if self.before not in ("atom", "ring", "close"):
                raise _Fault("a branch ends without an atom")
            self.last, self.before = self.open.pop(), "close"
        elif symbol == ".":
            if self.before not in ("atom", "ring", "close"):
                raise _Fault("a dot follows no atom")
            self.last, self.before = None, "dot"
        else:
            raise _Fault(f"{symbol!r} is no symbol of SMILES")

    def _add(self, atom: _Atom) -> None:
        self.atoms.append(atom)
        place = len(self.atoms) - 1
        if self.last is not None:
            self._join(self.last, place, self.bond)
        self.last, self.bond, self.before = place, None, "atom"

    def _ring(self, number: int) -> None:
        if self.last is None or self.before not in ("atom", "ring", "bond", "close"):
            raise _Fault(f"ring {number} follows no atom")
        if number in self.rings:
            other, bond = self.rings.pop(number)
            if bond and self.bond and _ORDERS[bond] != _ORDERS[self.bond]:
                raise _Fault(f"ring {number} is opened with {bond} and closed with {self.bond}")
            self._join(other, self.last, bond or self.bond)
        else:
            self.rings[number] = (self.last, self.bond)
        self.bond, self.before = None, "ring"

    def _join(self, one: int, other: int, bond: str | None) -> None:
        if one == other or other in self.atoms[one].bonds:
            raise _Fault("a ring closes on its own atom" if one == other else "two atoms are bound twice")
        both = self.atoms[one].aromatic and self.atoms[other].aromatic
        order = _ORDERS[bond] if bond else 1.5 if both else 1.0
        order = 1.0 if order == 1.5 and not both else order  # a colon between atoms that are not aromatic says little
        self.atoms[one].bonds[other] = self.atoms[other].bonds[one] = order

    def ended(self) -> list[_Atom]:
        if self.open:
            raise _Fault("a branch is left open")
        if self.rings:
            raise _Fault(f"ring {min(self.rings)} is left open")
        if self.before in ("bond", "dot"):
            raise _Fault(f"a {self.before} leads nowhere")
        return self.atoms


# ---- valences -----------------------------------------------------------------------------------------------------


def _part_charges(molecule: list[_Atom]) -> None:
    """Write neutral N with five bonds, and neutral Cl, Br and I bound to nothing but O, with the charges that such bonds stand for."""
    for atom in molecule:
        if atom.charge or atom.element not in ("N", "Cl", "Br", "I"):
            continue
        near = [(place, molecule[place], order) for place, order in atom.bonds.items()]
        if atom.element == "N":
            parts = [(p, o) for p, other, o in near if not other.charge and (other.element, o) in (("O", 2.0), ("N", 3.0))][:1]
            parts = parts if sum(atom.bonds.values()) + (atom.hydrogens or 0) == 5 else []
        else:
            only = all(other.element == "O" for _, other, _ in near)
            parts = [(p, o) for p, other, o in near if only and o == 2.0 and not other.charge]
        for place, order in parts:
            other = molecule[place]
            here = next(p for p in other.bonds if molecule[p] is atom)
            atom.bonds[place] = other.bonds[here] = order - 1
            atom.charge, other.charge = atom.charge + 1, -1


def _most(atom: _Atom) -> float:
    """The largest number of bonds, hydrogens counted, that an atom can have; infinite where nothing is known."""
    if atom.element == "H":
        return 2.0 if atom.charge else 1.0  # a hydride may be a bridge
    group = _GROUP.get(atom.element)
    if group is None:
        return float("inf")
    electrons = max(group - atom.charge, 0)
    if electrons > 4 and atom.element in _HEAVY:
        return float(_STRETCHED.get(electrons, 0))
    return float(electrons if electrons <= 4 else max(8 - electrons, 0))


def _bonds_fit(molecule: list[_Atom]) -> None:
    for atom in molecule:
        aromatic = sum(order == 1.5 for order in atom.bonds.values())
        single = sum(order for order in atom.bonds.values() if order != 1.5)
        count = single + aromatic + (atom.hydrogens or 0)
        if aromatic and atom.element == "C" and not any(order == 2.0 for order in atom.bonds.values()) and not atom.charge:
            count += 1  # its part of a double bond
        if count > _most(atom):
            raise _Fault(f"{atom.name} has {count:g} bond{'' if count == 1 else 's'}; at most {_most(atom):g}")


# ---- aromatic bonds -------------------------------------------------------------------------------------------------


def _aromatic_fit(molecule: list[_Atom]) -> None:
    """Whether the aromatic bonds can be made single and double, with one double bond at every atom that wants it."""
    if not any(atom.aromatic for atom in molecule):
        return
    ringed = _in_rings(molecule)
    if any(atom.aromatic and place not in ringed for place, atom in enumerate(molecule)):
        raise _Fault("an aromatic atom is in no ring")
    may = {place for place, atom in enumerate(molecule) if atom.aromatic and _wants_double(atom) is not False}
    must = {place for place in may if _wants_double(molecule[place])}
    near = {place: [other for other, order in molecule[place].bonds.items() if order == 1.5 and other in may] for place in may}
    if not _matched(must, near):
        raise _Fault("the aromatic bonds cannot be made single and double")


def _wants_double(atom: _Atom) -> bool | None:
    """Whether an aromatic atom needs a double bond in its ring (True), cannot have one (False), or may (None)."""
    if 1.5 not in atom.bonds.values():
        return False
    used = sum(1.0 if order == 1.5 else order for order in atom.bonds.values())
    free = _GROUP[atom.element] - atom.charge
    shell = free if free <= 4 else 8 - free
    room = shell - used - (atom.hydrogens or 0)
    if room < 1:
        return False
    if atom.element in _HEAVY and free == 6:
        return False
    if atom.hydrogens is not None and free <= 3:
        return None
    return True


def _matched(must: set[int], near: dict[int, list[int]]) -> bool:
    """Whether every atom of `must` can have a partner of its own: a matching that grows by alternating paths, one for each atom left.

    Reference: Edmonds 1965, https://doi.org/10.4153/CJM-1965-045-4
    """
    mates: dict[int, int] = {}
    for place in sorted(must):
        free = None if place in mates else next((other for other in near[place] if other not in mates), None)
        if free is not None:
            mates[place], mates[free] = free, place
    return all(place in mates or _Search(place, must, near, mates).found() for place in sorted(must))


class _Search:
    """The search from an atom without a partner for a path on which partners can be exchanged.

    Outer atoms are an even number of steps from the root. A path ends at a free atom, or at an outer one that can do without its partner.
    Where two outer atoms meet, the odd ring between them (the blossom) counts as one outer atom from then on.
    """

    def __init__(self, root: int, must: set[int], near: dict[int, list[int]], mates: dict[int, int]) -> None:
        self.root, self.must, self.near, self.mates = root, must, near, mates
        self.before: dict[int, int] = {}  # the atom from which a path comes to one that will be its partner
        self.base: dict[int, int] = {}  # from an atom of a blossom towards the one where paths enter it
        self.outer = [root]
        self.known = {root}  # those that are outer

    def found(self) -> bool:
        """Whether there is a path; if so, the root has a partner then, and every other atom of `must` keeps one."""
        for place in self.outer:  # it grows meanwhile
            if place not in self.must:
                self._exchange(self.mates.pop(place))
                return True
            for other in self.near[place]:
                if other in self.known:
                    if self._at(other) != self._at(place):
                        self._close(place, other)
                elif other not in self.before:
                    self.before[other] = place
                    if other not in self.mates:
                        self._exchange(other)
                        return True
                    self._add(self.mates[other])
        return False

    def _add(self, place: int) -> None:
        if place not in self.known:
            self.known.add(place)
            self.outer.append(place)

    def _exchange(self, last: int) -> None:
        """Give every atom on the path back from `last` the partner before it."""
        place: int | None = last
        while place is not None:
            before = self.before[place]
            following = self.mates.get(before)
            self.mates[place], self.mates[before] = before, place
            place = following

    def _at(self, place: int) -> int:
        """The atom where paths enter the blossom of an atom; without one, the atom."""
        while (base := self.base.get(place, place)) != place:
            self.base[place] = self.base.get(base, base)
            place = base
        return place

    def _close(self, one: int, other: int) -> None:
        """Make the odd ring that closes between two outer atoms a blossom."""
        base = self._meeting(one, other)
        for place, beyond in ((one, other), (other, one)):
            while self._at(place) != base:
                inner = self.mates[place]
                self.before[place] = beyond
                self._add(inner)
                for end in (place, inner):
                    if end not in self.base:
                        self.base[end] = base
                place, beyond = self.before[inner], inner

    def _meeting(self, one: int, other: int) -> int:
        """The first atom that the paths back from two outer atoms have in common."""
        passed: set[int] = set()
        places = [self._at(one), self._at(other)]
        while places[0] not in passed:
            passed.add(places[0])
            if places[0] == self.root:
                del places[0]
            else:
                places[0] = self._at(self.before[self.mates[places[0]]])
                places.reverse()
        return places[0]


def _in_rings(molecule: list[_Atom]) -> set[int]:
    """The atoms that stand in a ring: those with a bond that is no bridge."""
    found, depth, low = set(), dict[int, int](), dict[int, int]()
    for root in range(len(molecule)):
        if root in depth:
            continue
        depth[root] = low[root] = 0
        path = [(root, -1, iter(molecule[root].bonds))]
        while path:
            place, parent, others = path[-1]
            other = next(others, None)
            if other is None:
                path.pop()
                if parent >= 0:
                    low[parent] = min(low[parent], low[place])
                    if low[place] <= depth[parent]:
                        found |= {place, parent}
            elif other not in depth:
                depth[other] = low[other] = depth[place] + 1
                path.append((other, place, iter(molecule[other].bonds)))
            elif other != parent:
                low[place] = min(low[place], depth[other])
    return found
