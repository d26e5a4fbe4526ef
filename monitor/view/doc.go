// Package view turns what a process knows of the network into text: the plain
// screen of the SIP Thor description ([Once]), the tables of thor's commands,
// and the [Model] of the live monitor.
//
// It keeps three promises. The same values give the same text: no function
// reads a clock, an environment or a file. No text of another node reaches the
// terminal as it came: control characters are replaced and passwords masked,
// in every attribute, reason and event. And nothing is shown by
// colour alone: each state has a glyph and a word.
//
// It is not a terminal: it neither reads keys nor draws. Package monitor does,
// and hands keys, sizes and times to the Model.
package view
