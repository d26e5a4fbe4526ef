package subjects

// AttrTier is the attribute under which a member says that it is a spare: SpareTier.
// Every member may say it of itself, since it can only give work away.
const AttrTier = "tier"

// SpareTier is the tier of members that DNS answers with only while too few of the
// others are up. All other values, and none, are tier 1.
const SpareTier = "2"

// Spare reports whether m is of SpareTier.
func (m *Member) Spare() bool { return m.Attrs[AttrTier] == SpareTier }
